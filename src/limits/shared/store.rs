//! The connection to Redis or Valkey: one server or a cluster, in the clear or over TLS.
//!
//! Made by a probe and never by a request. The URL may hold a password: it is kept secret,
//! and no error that leaves here repeats it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo,
    RedisError, Script, TlsCertificates, Value,
};
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

/// For what no request waits for: connecting takes a handshake or three.
pub(super) const AT_LEISURE: Duration = Duration::from_secs(2);
/// Of a cluster that are remembered.
const MOST_NODES: usize = 64;

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
    /// Of a cluster, as of the last connection: the node of the URL may be gone at the next.
    nodes: Mutex<Vec<(String, u16)>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn new(config: RedisConfig, gateway: String) -> Self {
        let (script, connection, nodes) = (script::script(), Mutex::default(), Mutex::default());
        Self { config, gateway, script, connection, nodes }
    }

    pub(super) fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// How long a call of the lender may take. Less than a request waits: that the store has
    /// failed is heard by whoever waits for it, and so decides what becomes of the request.
    pub(super) fn patience(&self) -> Duration {
        self.config.timeout * 3 / 4
    }

    /// Asks for all these wishes at once.
    ///
    /// # Errors
    /// [`StoreError`]; the store may have done what was asked all the same.
    ///
    /// Dropping the future has the same consequence as an error.
    pub(super) async fn ask(
        &self,
        members: &str,
        wishes: &[(&str, Wish)],
        within: Duration,
    ) -> Result<Words, StoreError> {
        let connection = self.connected().clone().ok_or(StoreError::Unconnected)?;
        let asked = self.invoke(connection, members, wishes);
        tokio::time::timeout(within, asked).await.map_err(|_| StoreError::Timeout)?
    }

    /// Connects anew, so that a name is looked up again.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        let known = lock(&self.nodes).clone();
        let connecting = tokio::time::timeout(AT_LEISURE, connect(&self.config, known)).await;
        let mut connection = connecting.map_err(|_| StoreError::Timeout)??;
        if let Connection::Cluster(cluster) = &mut connection {
            *lock(&self.nodes) = nodes(cluster).await?;
        }
        *self.connected() = Some(connection);
        Ok(())
    }

    /// Connects anew and asks for nothing: a write that shows whether the store would take one.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) async fn probe(&self, members: &str) -> Result<Words, StoreError> {
        self.connect().await?;
        // The script may have to be loaded first, and a cluster's nodes to be met.
        self.ask(members, &[], AT_LEISURE).await?;
        self.ask(members, &[], self.patience()).await
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

    fn connected(&self) -> MutexGuard<'_, Option<Connection>> {
        lock(&self.connection)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn invoke(
    call: &redis::ScriptInvocation<'_>,
    connection: &mut impl ConnectionLike,
) -> Result<Value, RedisError> {
    call.invoke_async(connection).await
}

async fn connect(
    config: &RedisConfig,
    nodes: Vec<(String, u16)>,
) -> Result<Connection, StoreError> {
    let url = config.url.expose_secret();
    if config.cluster {
        return Ok(Connection::Cluster(cluster(config, url.into_connection_info()?, nodes).await?));
    }
    let client = if config.tls == RedisTls::default() {
        Client::open(url)?
    } else {
        Client::build_with_tls(url, certificates(&config.tls))?
    };
    let settings = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(AT_LEISURE))
        .set_response_timeout(Some(AT_LEISURE))
        .set_number_of_retries(0);
    Ok(Connection::One(ConnectionManager::new_with_config(client, settings).await?))
}

async fn cluster(
    config: &RedisConfig,
    seed: ConnectionInfo,
    nodes: Vec<(String, u16)>,
) -> Result<ClusterConnection, RedisError> {
    let others = nodes.into_iter().map(|node| seed.clone().set_addr(like(seed.addr(), node)));
    let seeds: Vec<_> = std::iter::once(seed.clone()).chain(others).collect();
    // A call whose key has moved is sent again; the time allowed for it stays the same.
    let mut builder = ClusterClient::builder(seeds)
        // One node that is silent must not use up the time of all.
        .connection_timeout(AT_LEISURE / 2)
        .response_timeout(AT_LEISURE)
        .retries(2)
        .min_retry_wait(1)
        .max_retry_wait(5);
    if config.tls != RedisTls::default() {
        builder = builder.certs(certificates(&config.tls));
    }
    builder.build()?.get_async_connection().await
}

/// Where the cluster's nodes are.
async fn nodes(cluster: &mut ClusterConnection) -> Result<Vec<(String, u16)>, RedisError> {
    let mut asked = redis::cmd("CLUSTER");
    asked.arg("SLOTS");
    let anyone = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    // Of each range its first and last slot, and then its nodes.
    let ranges = Vec::<Vec<Value>>::from_redis_value(cluster.route_command(asked, anyone).await?)?;
    let nodes = ranges.into_iter().flat_map(|range| range.into_iter().skip(2));
    let mut found: Vec<_> = nodes.filter_map(address).collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_NODES);
    Ok(found)
}

/// `None` for a node that does not say where it is.
fn address(node: Value) -> Option<(String, u16)> {
    let mut words = Vec::<Value>::from_redis_value(node).ok()?.into_iter();
    let host = String::from_redis_value(words.next()?).ok()?;
    let port = u16::from_redis_value(words.next()?).ok()?;
    (!matches!(&*host, "" | "?")).then_some((host, port))
}

/// Encrypted, or not, as the URL says.
fn like(seed: &ConnectionAddr, (host, port): (String, u16)) -> ConnectionAddr {
    match seed {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            let (insecure, tls_params) = (*insecure, tls_params.clone());
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn certificates(tls: &RedisTls) -> TlsCertificates {
    let client = tls.client.clone();
    let client_tls =
        client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    TlsCertificates { client_tls, root_cert: tls.ca.clone() }
}
