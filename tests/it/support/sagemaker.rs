//! SageMaker as a socket: a test takes each connection that arrives, reads the literal
//! request off it and writes literal bytes back, or does worse.
//!
//! It counts what arrives and keeps every request that was read, so that a test can say what
//! never came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::soon;

pub struct SageMaker {
    pub address: SocketAddr,
    arrivals: mpsc::UnboundedReceiver<TcpStream>,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// One connection from the gateway.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request as it was read off the socket.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    /// Names as they were written, sorted.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl SageMaker {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrivals) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = sender.send(stream);
            }
        });
        Self { address, arrivals, seen: Arc::default(), tasks: vec![accepting] }
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&mut self) -> impl Future<Output = Connection> {
        let seen = Arc::clone(&self.seen);
        let stream = soon("a connection to SageMaker", self.arrivals.recv());
        async move { Connection { stream: stream.await.unwrap(), buffer: Vec::new(), seen } }
    }

    /// From now on every request is read and gets this answer.
    pub fn answer_all(&mut self, answer: &'static [u8]) {
        let (_, none) = mpsc::unbounded_channel();
        let mut arrivals = std::mem::replace(&mut self.arrivals, none);
        let seen = Arc::clone(&self.seen);
        self.tasks.push(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Some(stream) = arrivals.recv().await {
                let seen = Arc::clone(&seen);
                let mut connection = Connection { stream, buffer: Vec::new(), seen };
                connections.spawn(async move {
                    while connection.read().await.is_some() {
                        connection.write(answer).await;
                    }
                });
            }
        }));
    }

    /// Every request that was read so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for SageMaker {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Connection {
    /// The next request, whole.
    #[track_caller]
    pub fn request(&mut self) -> impl Future<Output = Seen> {
        let reading = soon("a request to SageMaker", self.read());
        async move { reading.await.expect("the connection holds one more request") }
    }

    /// `None` when the gateway closed the connection instead.
    async fn read(&mut self) -> Option<Seen> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        let mut headers: Vec<_> = lines.map(header).collect();
        headers.sort();
        let mut seen = Seen { line, headers, body: Vec::new() };
        // Always declared: a signed body is whole before its head goes out.
        let length = seen.get("content-length").expect("a declared length").parse().unwrap();
        while self.buffer.len() < length {
            self.more().await?;
        }
        seen.body = self.buffer.drain(..length).collect();
        self.seen.lock().unwrap().push(seen.clone());
        Some(seen)
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Waits until the gateway has closed its side, having sent nothing more.
    #[track_caller]
    pub fn closed(&mut self) -> impl Future<Output = ()> {
        let reading = async move {
            while self.more().await.is_some() {}
            assert!(self.buffer.is_empty(), "nothing more is sent");
        };
        soon("the end of the connection to SageMaker", reading)
    }

    /// Breaks the connection: RST instead of FIN.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
        (read > 0).then_some(())
    }
}
