//! What is used of shared limits now, for an operator who asks.

use std::time::SystemTime;

use super::leased::{Addresses, kind_at};
use super::limit::{LimitsConfig, Per};
use super::shared::{Peeker, RedisConfig, StoreError};

/// The store's reason, which names no password.
#[derive(Debug, thiserror::Error)]
#[error("the limit store cannot be asked: {0}")]
pub struct Unasked(#[from] StoreError);

/// What is used of each limit, in the order of the file, with what gateways have leased and
/// not spent. `None` for limits that have many counts: those per user, role and so on.
///
/// # Errors
/// [`Unasked`].
pub async fn used_now(
    store: RedisConfig,
    limits: &LimitsConfig,
    now: SystemTime,
) -> Result<Vec<Option<u64>>, Unasked> {
    let peeker = Peeker::connect(store).await?;
    let (mut addresses, mut all) = (Addresses::default(), Vec::new());
    for limit in &limits.limits {
        let address = addresses.of(limit);
        all.push(match limit.per {
            Per::Whole => {
                let kind = kind_at(&limit.measure, now);
                Some(peeker.used(&address.tag, &address.base, kind).await?)
            }
            Per::User | Per::Team | Per::Role | Per::Endpoint => None,
        });
    }
    Ok(all)
}
