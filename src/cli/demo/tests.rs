//! The whole demo on real sockets, around gateways that are wrong in one way each.
//!
//! The gateway here is played by a table look-up: what is under test is that the demo says
//! yes to a right one and no to every wrong one.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::files::tests::EXAMPLES;
use super::loopback::{Answer, Loopback};
use super::personas::{Bearer, Call, Expected};
use super::report::tests::PLAIN;
use super::sagemaker::tests::signed;
use super::*;

/// How a gateway is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    PermitsSam,
    SignsWithOtherKeys,
    KeepsNoRecord,
    ForwardsBeforeRefusing,
}

struct Gateway {
    fault: Fault,
    runtime: String,
    directory: PathBuf,
    credentials: Credentials,
}

impl Gateway {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        if request.uri().path() == "/readyz" {
            return Response::new(Full::default().boxed());
        }
        let call = self.call(&request);
        if self.fault != Fault::KeepsNoRecord {
            let journal = self.directory.join("audit/1.jsonl");
            let mut file = OpenOptions::new().create(true).append(true).open(journal).unwrap();
            file.write_all(b"{\"metadata\":{\"event_code\":\"request\"}}\n").unwrap();
        }
        let sams = call.by == Bearer::Own("sam") && self.fault == Fault::PermitsSam;
        match call.expected.code() {
            None => self.forward(request).await,
            Some(_) if sams => self.forward(request).await,
            Some(code) => {
                if self.fault == Fault::ForwardsBeforeRefusing {
                    self.forward(request).await;
                }
                refusal(call.expected, code)
            }
        }
    }

    /// Which call of the table this is, told from the token's file.
    fn call(&self, request: &Request<Incoming>) -> &'static Call {
        let header = |name| request.headers().get(name).map(|v| v.to_str().unwrap());
        let named = |name: &str| std::fs::read_to_string(self.directory.join(name)).unwrap();
        let token = header("authorization").map(|value| value.strip_prefix("Bearer ").unwrap());
        let matches = |call: &&Call| {
            let file = match call.by {
                Bearer::Own(name) => Some(format!("{name}.jwt")),
                Bearer::Altered => Some("altered.jwt".to_owned()),
                Bearer::Expired => Some("expired.jwt".to_owned()),
                Bearer::Nothing => None,
            };
            call.path() == request.uri().path()
                && call.variant == header("x-amzn-sagemaker-target-variant")
                && file.map(|file| named(&file)).as_deref() == token
        };
        CALLS.iter().find(matches).unwrap()
    }

    async fn forward(&self, request: Request<Incoming>) -> Answer {
        let url = format!("{}{}", self.runtime, request.uri().path());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap();
        let reply = Client::new().call(signed(&url, &[], body, &self.credentials)).await.unwrap();
        let mut answer = Response::new(Full::from(reply.body).boxed());
        *answer.status_mut() = reply.status;
        *answer.headers_mut() = reply.headers;
        answer
    }
}

fn refusal(expected: Expected, code: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{{\"__type\":\"{code}\"}}")).boxed());
    *answer.status_mut() = StatusCode::from_u16(expected.status()).unwrap();
    answer.headers_mut().insert("x-amzn-errortype", code.parse().unwrap());
    answer
}

async fn start(
    fault: Fault,
    config: PathBuf,
    credentials: Credentials,
) -> Result<Running, StartError> {
    let tree: Value = serde_saphyr::from_str(&std::fs::read_to_string(&config)?)?;
    let credentials = match fault {
        Fault::SignsWithOtherKeys => new_credentials()?,
        _ => credentials,
    };
    let gateway = Arc::new(Gateway {
        fault,
        runtime: tree["aws"]["runtime_url"].as_str().unwrap().to_owned(),
        directory: config.parent().unwrap().to_owned(),
        credentials,
    });
    let server = Loopback::bind().await?.serve(move |request| Arc::clone(&gateway).answer(request));
    let address = server.url().strip_prefix("http://").unwrap().parse()?;
    Ok(Running { gateway: address, admin: address, drain: Box::pin(async { drop(server) }) })
}

/// What a demo around such a gateway came to.
struct Ending {
    good: bool,
    /// Whether its directory is still there; if so, it was cleaned up since.
    kept: bool,
    text: String,
}

async fn ending(fault: Fault) -> Ending {
    let (mut directory, mut out) = (PathBuf::new(), Vec::new());
    let mut screen = Screen { style: PLAIN, out: &mut out };
    let good = perform(true, EXAMPLES, &mut screen, |config, credentials| {
        config.parent().unwrap().clone_into(&mut directory);
        start(fault, config, credentials)
    });
    let good = good.await.unwrap();
    let kept = directory.exists();
    if kept {
        std::fs::remove_dir_all(directory).unwrap();
    }
    Ending { good, kept, text: String::from_utf8(out).unwrap() }
}

#[tokio::test]
async fn a_right_gateway_passes_and_leaves_nothing_behind() {
    let ending = ending(Fault::None).await;
    assert!(ending.good && !ending.kept && !ending.text.contains('✗'), "{}", ending.text);
    assert!(ending.text.contains("15 of 15 calls answered as expected"), "{}", ending.text);
}

#[tokio::test]
async fn every_wrong_gateway_fails_says_why_and_leaves_its_files() {
    for (fault, line) in [
        (Fault::PermitsSam, "13 of 15 calls answered as expected"),
        (Fault::SignsWithOtherKeys, "4 calls reached SageMaker (4 were permitted), 0 signed"),
        // Every answer is right; only what the caller cannot see is wrong.
        (Fault::KeepsNoRecord, "0 of 15 calls are on record"),
        (Fault::ForwardsBeforeRefusing, "15 calls reached SageMaker (4 were permitted)"),
    ] {
        let ending = ending(fault).await;
        assert!(!ending.good && ending.kept, "{fault:?}");
        assert!(ending.text.contains(&format!("✗ {line}")), "{fault:?}: {}", ending.text);
    }
}

#[tokio::test]
async fn a_gateway_that_does_not_start_is_an_error_with_its_reason() {
    let (mut directory, mut out) = (PathBuf::new(), Vec::new());
    let mut screen = Screen { style: PLAIN, out: &mut out };
    let outcome = perform(true, EXAMPLES, &mut screen, |config, _| {
        config.parent().unwrap().clone_into(&mut directory);
        async { Err("no such role `x`".into()) }
    });
    let error = outcome.await.unwrap_err();
    std::fs::remove_dir_all(&directory).unwrap();
    let expected = format!(
        "the gateway did not start, its files are in `{}`: no such role `x`",
        directory.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn every_token_in_the_directory_is_the_one_that_is_played() {
    let stage = Stage::set(EXAMPLES).await.unwrap();
    for (name, token) in stage.tokens.named() {
        let file = stage.files.path(&format!("{name}.jwt"));
        assert_eq!(std::fs::read_to_string(file).unwrap(), token.expose_secret());
    }
    stage.files.remove().unwrap();
}
