//! What does a connection cost that nobody uses? A thousand of them over TLS, each left open
//! after one request.

use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Outcome;
use crate::caller::{Caller, Order};
use crate::certificate::{Certificate, NAME};
use crate::contenders::{Contender, Course, Kind, PATH};

const CONNECTIONS: u16 = 1_000;
/// Before the first reading, so that what a process allocates once is not a connection's.
const WARM_UP: usize = 1_000;

/// Resident KiB of sagegate for each idle connection.
pub(crate) async fn kib_per_connection(course: &Course<'_>, token: &str) -> Outcome<f64> {
    let certificate = Certificate::make(course.directory)?;
    let course = Course { certificate: Some(&certificate), ..*course };
    let gateway = Contender::start(Kind::Sagegate, &course).await?;
    let connector = certificate.connector()?;
    let order = Order::new(gateway.address, PATH, token)?;

    let mut first = connect(&gateway, &connector).await?;
    for _ in 0..WARM_UP {
        order.run(&mut first).await?;
    }
    let before = gateway.process.resident_kib()?;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut caller = connect(&gateway, &connector).await?;
        order.run(&mut caller).await?;
        idle.push(caller);
    }
    let after = gateway.process.resident_kib()?;
    let closed = idle.iter().filter(|caller| caller.is_closed()).count();
    if closed > 0 {
        return Err(format!("{closed} idle connections were closed too early").into());
    }
    gateway.check_records(WARM_UP + idle.len()).await?;
    Ok((after - before) / f64::from(CONNECTIONS))
}

async fn connect(gateway: &Contender, connector: &TlsConnector) -> Outcome<Caller> {
    let stream = TcpStream::connect(gateway.address).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(ServerName::try_from(NAME)?, stream).await?;
    let (caller, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(caller)
}
