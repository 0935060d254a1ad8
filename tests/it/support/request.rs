//! A request as the bytes of HTTP/1.1.

/// What is asked, in parts that a test changes before they become bytes.
#[derive(Clone, Debug)]
pub struct Ask {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub const INVOKE: &str = "/endpoints/fraud-v1/invocations";
pub const STREAM: &str = "/endpoints/fraud-v1/invocations-response-stream";
pub const ASYNC: &str = "/endpoints/fraud-v1/async-invocations";

impl Ask {
    pub fn post(path: &str) -> Self {
        Self::line(&format!("POST {path} HTTP/1.1"))
    }

    pub fn line(line: &str) -> Self {
        Self { line: line.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// The call that every control makes.
    pub fn invoke(token: &str) -> Self {
        Self::post(INVOKE).bearer(token).body("{\"x\": 1}")
    }

    pub fn stream(token: &str) -> Self {
        Self::post(STREAM).bearer(token).body("{\"x\": 1}")
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With `Host` and, unless the body is chunked, `Content-Length`.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = self.head();
        let chunked = self.headers.iter().any(|(name, _)| name == "transfer-encoding");
        if !chunked {
            text += &format!("content-length: {}\r\n", self.body.len());
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The head without its last line, to go on with by hand.
    pub fn head(&self) -> String {
        let mut text = format!("{}\r\nhost: gateway.test\r\n", self.line);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text
    }
}
