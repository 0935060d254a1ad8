// A certified OpenID provider on a free loopback port: proof that the gateway takes tokens
// that somebody else's code minted, found by discovery and checked against a served JWKS.
//
// One client may ask for an access token (RFC 6749 §4.4). It is a JWT of RFC 9068 because
// a resource indicator's server says so. Prints `ready ISSUER` when it can be asked.

import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

import Provider from "oidc-provider";

const ALGORITHM = "ES256";

const { AUDIENCE, CLIENT_ID, CLIENT_SECRET, GROUP } = process.env;

function signingKey() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), kid: "e2e", use: "sig", alg: ALGORITHM };
}

const gatewayAsResource = {
  scope: "",
  audience: AUDIENCE,
  accessTokenTTL: 300,
  accessTokenFormat: "jwt",
  jwt: { sign: { alg: ALGORITHM } },
};

const configuration = {
  jwks: { keys: [signingKey()] },
  clientDefaults: { id_token_signed_response_alg: ALGORITHM },
  clients: [
    {
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => `urn:${AUDIENCE}`,
      getResourceServerInfo: () => gatewayAsResource,
    },
  },
  extraTokenClaims: () => ({ groups: [GROUP] }),
};

const server = createServer();
server.listen(0, "127.0.0.1");
await once(server, "listening");

// The issuer names its port, so the port has to be known before the provider is built.
const issuer = `http://127.0.0.1:${server.address().port}`;
server.on("request", new Provider(issuer, configuration).callback());
console.log(`ready ${issuer}`);
