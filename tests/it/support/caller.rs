//! A caller that writes literal bytes and believes nothing of what comes back: the status
//! must be the demanded one, and no header may come that the gateway has no reason to send.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// What may be in an answer at all. Of SageMaker's headers only these pass.
const HEADERS: [&str; 20] = [
    "allow",
    "connection",
    "content-length",
    "content-type",
    "date",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "transfer-encoding",
    "www-authenticate",
    "x-amzn-errortype",
    "x-amzn-invoked-production-variant",
    "x-amzn-requestid",
    "x-amzn-sagemaker-closed-session-id",
    "x-amzn-sagemaker-content-type",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-failurelocation",
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-outputlocation",
    "x-sagegate-request-id",
];

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection to the gateway.
pub struct Caller {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// An answer's head, and its body once it was read.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// How an answer's body ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The connection ended before the body did.
    Broken,
}

impl Caller {
    pub async fn connect(address: std::net::SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// As a client that writes all it has before it looks for an answer.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        soon("the end of writing", self.stream.write_all(bytes.as_ref())).await
    }

    /// Says that nothing more will be written.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// A whole answer, which must have this status.
    #[track_caller]
    pub fn response(&mut self, status: u16) -> impl Future<Output = Response> {
        let reading = async move {
            let mut response = self.head().await;
            let (body, end) = self.body(&response).await;
            response.body = body;
            assert_eq!(response.status, status, "{}", response.text());
            assert_eq!(end, End::Whole, "{}", response.text());
            response
        };
        soon("an answer", reading)
    }

    /// An answer's head alone, with the rules that hold for every answer.
    pub async fn head(&mut self) -> Response {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break self.buffer.drain(..end + 4).collect::<Vec<_>>();
            }
            assert!(self.more().await, "no answer, but: {:?}", lossy(&self.buffer));
        };
        let response = Response::parse(&lossy(&head));
        response.check();
        response
    }

    /// One line, as of an interim answer.
    #[track_caller]
    pub fn line(&mut self) -> impl Future<Output = String> {
        let reading = async move {
            loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    let line: Vec<_> = self.buffer.drain(..end + 2).collect();
                    return lossy(&line[..end]);
                }
                assert!(self.more().await, "no line, but: {:?}", lossy(&self.buffer));
            }
        };
        soon("a line", reading)
    }

    /// The rest of an answer, and whether it was whole.
    pub async fn body(&mut self, head: &Response) -> (Vec<u8>, End) {
        if head.get("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                match self.chunk().await {
                    Some(chunk) if chunk.is_empty() => return (body, End::Whole),
                    Some(chunk) => body.extend(chunk),
                    None => return (body, End::Broken),
                }
            }
        }
        let length = head.get("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            if !self.more().await {
                return (std::mem::take(&mut self.buffer), End::Broken);
            }
        }
        (self.buffer.drain(..length).collect(), End::Whole)
    }

    /// The next chunk; empty for the last, `None` if the connection ended before it.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<_> = self.buffer.drain(..end + 2).collect();
                break usize::from_str_radix(lossy(&line).trim(), 16).unwrap();
            }
            if !self.more().await {
                return None;
            }
        };
        while self.buffer.len() < size + 2 {
            if !self.more().await {
                return None;
            }
        }
        let chunk: Vec<_> = self.buffer.drain(..size + 2).collect();
        assert_eq!(&chunk[size..], b"\r\n");
        Some(chunk[..size].to_vec())
    }

    /// Waits until the gateway has closed the connection, and nothing more came.
    #[track_caller]
    pub fn closed(&mut self) -> impl Future<Output = ()> {
        let reading = async move {
            while self.more().await {}
            assert_eq!(lossy(&self.buffer), "", "nothing more is sent");
        };
        soon("the end of the connection", reading)
    }

    /// Waits until the gateway has closed the connection, whatever came before.
    #[track_caller]
    pub fn drain(&mut self) -> impl Future<Output = Vec<u8>> {
        let reading = async move {
            while self.more().await {}
            std::mem::take(&mut self.buffer)
        };
        soon("the end of the connection", reading)
    }

    /// `false` at the end of the stream, however it came.
    async fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.buffer.extend_from_slice(&bytes[..read]);
        read > 0
    }
}

impl Response {
    fn parse(head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        let headers = lines.map(header).collect();
        Self { status: status[..3].parse().unwrap(), headers, body: Vec::new() }
    }

    /// As it came over HTTP/2.
    pub fn from_parts(head: &http::response::Parts, body: Vec<u8>) -> Self {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers = head.headers.iter().map(header).collect();
        let response = Self { status: head.status.as_u16(), headers, body };
        response.check();
        response
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name)?;
        Some(&found.1)
    }

    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The gateway's id, which the record has too.
    #[track_caller]
    pub fn id(&self) -> &str {
        self.get("x-sagegate-request-id").expect("every answer has its id")
    }

    pub fn text(&self) -> String {
        lossy(&self.body)
    }

    /// The code of a refusal, the same wherever AWS SDKs look for it.
    #[track_caller]
    pub fn code(&self) -> &str {
        let code = self.get("x-amzn-errortype").expect("a refusal has a code");
        let body: Value = serde_json::from_slice(&self.body).expect("a refusal is JSON");
        assert_eq!(body["__type"], code);
        assert_eq!(body["requestId"], self.id());
        assert_eq!(self.get("x-amzn-requestid"), Some(self.id()));
        assert_eq!(self.get("content-type"), Some("application/json"));
        assert!(body["message"].as_str().is_some_and(|text| text.len() > 5));
        code
    }

    /// What holds for every answer.
    fn check(&self) {
        for (name, value) in &self.headers {
            assert!(HEADERS.contains(&name.as_str()), "unexpected header {name}: {value}");
            let times = self.headers.iter().filter(|(other, _)| other == name).count();
            assert_eq!(times, 1, "{name} came {times} times");
            let status = self.status;
            match name.as_str() {
                "connection" => assert_eq!(value, "close"),
                "transfer-encoding" => assert_eq!(value, "chunked"),
                "www-authenticate" => assert!(matches!(status, 401 | 403), "{name} on {status}"),
                "allow" => assert_eq!(status, 405),
                _ => {}
            }
        }
        let has = |name| self.get(name).is_some();
        assert!(has("date"));
        assert!(!(has("content-length") && has("transfer-encoding")), "two framings");
        match self.status {
            401 => assert!(has("www-authenticate")),
            405 => assert!(has("allow")),
            429 => assert!(has("retry-after") && has("ratelimit") && has("ratelimit-policy")),
            _ => {}
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
