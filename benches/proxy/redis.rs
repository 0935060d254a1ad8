//! The shared limit store of one contender: a real Redis server, and how often it is asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Redis {
    _process: Process,
    address: SocketAddr,
}

impl Redis {
    pub(crate) fn start(binary: &Path, directory: &Path) -> Outcome<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(binary);
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]).current_dir(directory);
        let process = Process::logged(&mut command, &directory.join("redis.log"))?;
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > START_LIMIT {
                return Err("redis-server did not start".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { _process: process, address })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How often its script has run.
    pub(crate) fn calls(&self) -> Outcome<u32> {
        let mut connection = TcpStream::connect(self.address)?;
        connection.write_all(b"INFO commandstats\r\n")?;
        let lines = BufReader::new(connection).lines();
        for line in lines.take(256) {
            let line = line?;
            if let Some(rest) = line.strip_prefix("cmdstat_evalsha:calls=") {
                return Ok(rest.split(',').next().unwrap_or_default().parse()?);
            }
            // The section's end; nothing follows it.
            if line.is_empty() {
                return Ok(0);
            }
        }
        Ok(0)
    }
}
