//! Is a contender doing its work? Asked with real requests before anything is measured.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Outcome;
use crate::contenders::{Contender, PATH};
use crate::load::{bearer, body};
use crate::upstream::{SEEN, Seen};

/// Tokens to tell a working gateway from an open one.
pub(crate) struct Tokens {
    pub good: String,
    /// `good` with one character of its signature changed.
    pub tampered: String,
    /// Well signed, of a user in none of the groups that are let in.
    pub stranger: String,
}

/// Sends one request with each token and checks the answers, and that the upstream saw the
/// permitted one alone, signed. Gives how many requests were sent.
pub(crate) async fn check(
    contender: &Contender,
    upstream: SocketAddr,
    tokens: &Tokens,
) -> Outcome<usize> {
    let before = seen(upstream).await?;
    expect(contender, "the good token", &tokens.good, 200).await?;
    if !contender.kind.is_gateway() {
        return Ok(1);
    }
    expect(contender, "a tampered token", &tokens.tampered, 401).await?;
    expect(contender, "a stranger's token", &tokens.stranger, 403).await?;
    let after = seen(upstream).await?;
    let wanted = Seen { signed: before.signed + 1, ..before };
    if after != wanted {
        return Err(format!("{}: upstream saw {after:?}, not {wanted:?}", contender.kind).into());
    }
    Ok(3)
}

/// How many requests the upstream has had.
pub(crate) async fn seen(upstream: SocketAddr) -> Outcome<Seen> {
    let request = Request::get(SEEN).header(HOST, upstream.to_string()).body(Full::default())?;
    let (_, body) = ask(upstream, request).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// The status of a GET; `None` while nobody listens.
pub(crate) async fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let request = Request::get(path).header(HOST, address.to_string()).body(Full::default());
    let (status, _) = ask(address, request.ok()?).await.ok()?;
    Some(status.as_u16())
}

async fn expect(contender: &Contender, what: &str, token: &str, wanted: u16) -> Outcome {
    let request = Request::post(PATH)
        .header(HOST, contender.address.to_string())
        .header(AUTHORIZATION, bearer(token)?)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body()))?;
    let (status, answer) = ask(contender.address, request).await?;
    if status.as_u16() == wanted {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Err(format!("{}: {what} got {status}, not {wanted}: {answer}", contender.kind).into())
}

async fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Outcome<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
