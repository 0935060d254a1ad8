//! The connection to Redis or Valkey: one server or a cluster, in the clear or over TLS.
//!
//! Made by a probe and never by a request. The URL may hold a password: it is kept secret,
//! and no error that leaves here repeats it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, ClientTlsConfig, RedisError, Script, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};

use super::lease::OnFailure;
use super::script::{self, Wish, Words};

/// Where the shared store is, and what holds while it cannot be asked.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://` or `rediss://`, with user, password and database number if there are any.
    pub url: SecretString,
    /// The URL is that of any node of a cluster.
    pub cluster: bool,
    pub tls: RedisTls,
    /// The longest a request waits for the store.
    pub timeout: Duration,
    pub on_failure: OnFailure,
}

/// PEM texts for `rediss://`; without them the system's roots, and no client certificate.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    ca: Option<Vec<u8>>,
    /// Certificate and private key.
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl RedisTls {
    /// The roots to trust, and a client's certificate with its private key.
    pub fn new(ca: Option<Vec<u8>>, client: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        Self { ca, client }
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls")
            .field("ca", &self.ca.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("cluster", &self.cluster)
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}

impl PartialEq for RedisConfig {
    fn eq(&self, other: &Self) -> bool {
        let Self { url, cluster, tls, timeout, on_failure } = self;
        url.expose_secret() == other.url.expose_secret()
            && (cluster, tls, timeout, on_failure)
                == (&other.cluster, &other.tls, &other.timeout, &other.on_failure)
    }
}

impl Eq for RedisConfig {}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no answer in time")]
    Timeout,
    #[error("not connected")]
    Unconnected,
    /// The server's or the connection's own words; they name no password.
    #[error("{0}")]
    Redis(#[from] RedisError),
}

impl StoreError {
    /// The metric's label.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unconnected => "connection",
            Self::Redis(error) if error.is_timeout() => "timeout",
            Self::Redis(error) if error.is_io_error() || error.is_connection_dropped() => {
                "connection"
            }
            Self::Redis(_) => "refused",
        }
    }
}

/// Connecting takes a handshake or three, and no request waits for it.
const CONNECT: Duration = Duration::from_secs(2);

#[derive(Clone)]
enum Connection {
    One(ConnectionManager),
    Cluster(ClusterConnection),
}

pub(super) struct Store {
    config: RedisConfig,
    /// This gateway's name in the store.
    gateway: String,
    script: Script,
    connection: Mutex<Option<Connection>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn new(config: RedisConfig, gateway: String) -> Self {
        Self { config, gateway, script: script::script(), connection: Mutex::new(None) }
    }

    pub(super) fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// Asks for all these wishes at once, within the configured time.
    ///
    /// # Errors
    /// [`StoreError`]; the store may have done what was asked all the same.
    ///
    /// Dropping the future has the same consequence as an error.
    pub(super) async fn ask(
        &self,
        members: &str,
        wishes: &[(&str, Wish)],
    ) -> Result<Words, StoreError> {
        let connection = self.connected().clone().ok_or(StoreError::Unconnected)?;
        let asked = self.invoke(connection, members, wishes);
        tokio::time::timeout(self.config.timeout, asked).await.map_err(|_| StoreError::Timeout)?
    }

    /// The same for somebody who has time.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) async fn ask_at_leisure(
        &self,
        members: &str,
        wishes: &[(&str, Wish)],
    ) -> Result<Words, StoreError> {
        let connection = self.connected().clone().ok_or(StoreError::Unconnected)?;
        let asked = self.invoke(connection, members, wishes);
        tokio::time::timeout(CONNECT, asked).await.map_err(|_| StoreError::Timeout)?
    }

    /// Connects anew, so that a name is looked up again.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        let connecting = tokio::time::timeout(CONNECT, connect(&self.config));
        *self.connected() = Some(connecting.await.map_err(|_| StoreError::Timeout)??);
        Ok(())
    }

    /// Connects anew and asks for nothing: a write that shows whether the store would take one.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) async fn probe(&self, members: &str) -> Result<Words, StoreError> {
        self.connect().await?;
        // The script may have to be loaded first, and a cluster's nodes to be met.
        self.ask_at_leisure(members, &[]).await?;
        self.ask(members, &[]).await
    }

    async fn invoke(
        &self,
        connection: Connection,
        members: &str,
        wishes: &[(&str, Wish)],
    ) -> Result<Words, StoreError> {
        let each = wishes.iter().map(|(key, wish)| (*key, wish));
        let call = script::call(&self.script, &self.gateway, members, each);
        let answer = match connection {
            Connection::One(mut one) => invoke(&call, &mut one).await,
            Connection::Cluster(mut cluster) => invoke(&call, &mut cluster).await,
        };
        Ok(script::read(answer?, wishes.iter().map(|(_, wish)| wish))?)
    }

    fn connected(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn invoke(
    call: &redis::ScriptInvocation<'_>,
    connection: &mut impl ConnectionLike,
) -> Result<redis::Value, RedisError> {
    call.invoke_async(connection).await
}

async fn connect(config: &RedisConfig) -> Result<Connection, StoreError> {
    let url = config.url.expose_secret();
    if config.cluster {
        // A call whose key has moved is sent again; the time allowed for it stays the same.
        let mut builder = ClusterClient::builder([url])
            .connection_timeout(CONNECT)
            .response_timeout(CONNECT)
            .retries(2)
            .min_retry_wait(1)
            .max_retry_wait(5);
        if config.tls != RedisTls::default() {
            builder = builder.certs(certificates(&config.tls));
        }
        let connection = builder.build()?.get_async_connection().await?;
        return Ok(Connection::Cluster(connection));
    }
    let client = if config.tls == RedisTls::default() {
        Client::open(url)?
    } else {
        Client::build_with_tls(url, certificates(&config.tls))?
    };
    let settings = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(CONNECT))
        .set_number_of_retries(0);
    Ok(Connection::One(ConnectionManager::new_with_config(client, settings).await?))
}

fn certificates(tls: &RedisTls) -> TlsCertificates {
    let client = tls.client.clone();
    let client_tls =
        client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    TlsCertificates { client_tls, root_cert: tls.ca.clone() }
}
