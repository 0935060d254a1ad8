//! HTTP/2, with prior knowledge on plaintext and by ALPN under TLS.

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::caller::Stream;
use crate::support::request::{INVOKE, STREAM};
use crate::support::{Response, Setup, Stand, soon};

pub type Sender = SendRequest<Full<Bytes>>;

/// One HTTP/2 connection over `stream`.
pub async fn connection(stream: impl Stream + 'static) -> Sender {
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn plaintext(stand: &Stand) -> Sender {
    connection(TcpStream::connect(stand.app.address()).await.unwrap()).await
}

pub fn call(path: &str, token: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://gateway.test{path}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Full::from("{}"))
        .unwrap()
}

pub async fn whole(sender: &mut Sender, request: Request<Full<Bytes>>) -> Response {
    let asking = async {
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        let (head, body) = answer.into_parts();
        Response::from_parts(&head, body.collect().await.unwrap().to_bytes().to_vec())
    };
    soon("an answer over HTTP/2", asking).await
}

#[tokio::test]
async fn prior_knowledge_speaks_http2_on_plaintext() {
    let stand = Stand::answering(Setup::default()).await;
    let mut sender = plaintext(&stand).await;
    let refused = whole(&mut sender, call(INVOKE, "garbage")).await;
    assert_eq!((refused.status, refused.code()), (401, "UnrecognizedClientException"));
    let unknown = whole(&mut sender, call("/endpoints/a", &stand.token())).await;
    assert_eq!(unknown.status, 404);

    let allowed = whole(&mut sender, call(INVOKE, &stand.token())).await;
    assert_eq!((allowed.status, allowed.text().as_str()), (200, "{\"y\": 0.5}"));
    assert_eq!(stand.event(&allowed)["http_request"]["version"], "2");
    let seen = stand.sagemaker.seen();
    assert_eq!(seen.len(), 1, "only the control went on");
    assert_eq!(seen[0].get("host"), Some(stand.sagemaker.address.to_string().as_str()));
    assert_eq!(stand.events().len(), 3);
    stand.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_reset_and_the_connection_goes_on() {
    let mut stand = Stand::start().await;
    let mut sender = plaintext(&stand).await;
    let asked = sender.send_request(call(STREAM, &stand.token()));
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    sagemaker.write("5\r\nfirst\r\n").await;
    let mut body = asked.await.unwrap().into_body();
    let first = soon("the first chunk", body.frame()).await.unwrap().unwrap();
    assert_eq!(&first.into_data().unwrap()[..], b"first");
    drop(sagemaker);

    let error = soon("the break", body.frame()).await.expect("no clean end").unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("stream error received"), "RST_STREAM, not the connection: {cause}");
    let event = stand.recorded(1).await.remove(0);
    assert_eq!(event["unmapped"]["ending"], "upstream_broke");

    stand.sagemaker.answer_all(crate::support::OK);
    assert_eq!(whole(&mut sender, call(INVOKE, &stand.token())).await.status, 200);
    stand.stop().await;
}

#[tokio::test]
async fn a_caller_who_resets_one_stream_ends_that_call_alone() {
    let mut stand = Stand::start().await;
    let mut sender = plaintext(&stand).await;
    let token = stand.token();
    let (gone, stays) = (sender.send_request(call(STREAM, &token)), sender.clone());
    let mut ended = stand.sagemaker.accept().await;
    ended.request().await;
    ended.write(crate::stream::HEAD).await;
    let gone = gone.await.unwrap();

    let mut sender = stays;
    let kept = sender.send_request(call(STREAM, &token));
    let mut open = stand.sagemaker.accept().await;
    open.request().await;
    open.write(crate::stream::HEAD).await;
    let kept = kept.await.unwrap();

    drop(gone);
    ended.closed().await;
    assert_eq!(stand.recorded(1).await[0]["unmapped"]["ending"], "caller_gone");

    open.write("4\r\nrest\r\n0\r\n\r\n").await;
    assert_eq!(&kept.into_body().collect().await.unwrap().to_bytes()[..], b"rest");
    assert_eq!(stand.recorded(2).await[1]["unmapped"]["ending"], "complete");
    stand.stop().await;
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_over_http2_too() {
    let setup = Setup::default().with("server", "max_body", serde_json::json!("1KiB"));
    let stand = Stand::answering(setup).await;
    let mut sender = plaintext(&stand).await;
    let mut large = call(INVOKE, &stand.token());
    *large.body_mut() = Full::from(vec![b'x'; 1025]);
    assert_eq!(whole(&mut sender, large).await.status, 413);
    assert_eq!(whole(&mut sender, call(INVOKE, &stand.token())).await.status, 200);
    assert_eq!(stand.sagemaker.seen().len(), 1);
    stand.stop().await;
}

/// Over HTTP/1 hyper would leave them out by itself, for want of a `Trailer` header.
#[tokio::test]
async fn trailers_of_an_answer_stay_behind() {
    let mut stand = Stand::start().await;
    let mut sender = plaintext(&stand).await;
    let asked = sender.send_request(call(STREAM, &stand.token()));
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    sagemaker.write("1\r\na\r\n0\r\nset-cookie: a=b\r\n\r\n").await;
    let whole = soon("the end", asked.await.unwrap().into_body().collect()).await.unwrap();
    assert_eq!(whole.trailers(), None);
    assert_eq!(&whole.to_bytes()[..], b"a");
    stand.stop().await;
}
