//! A look at the store from outside of a gateway: it takes nothing and counts for nobody.

use super::lease::Ask;
use super::script::{Wish, Word};
use super::slice::{Kind, full_key, members};
use super::slots::SlotsAsk;
use super::store::{AT_LEISURE, RedisConfig, Store, StoreError};

pub(in crate::limits) struct Peeker(Store);

impl Peeker {
    /// # Errors
    /// [`StoreError`].
    pub(in crate::limits) async fn connect(config: RedisConfig) -> Result<Self, StoreError> {
        let store = Store::new(config, "nobody".to_owned());
        store.connect().await?;
        Ok(Self(store))
    }

    /// What of a limit is not left in the store: used, or leased to a gateway.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(in crate::limits) async fn used(
        &self,
        tag: &str,
        key: &str,
        kind: Kind,
    ) -> Result<u64, StoreError> {
        let wish = match kind {
            Kind::Units { terms, day } => Wish::Units { terms, ask: Ask::default(), day },
            Kind::Slots(most) => Wish::Slots { most, ask: SlotsAsk { used: 0, want: 0 } },
        };
        let key = full_key(tag, key, kind);
        let words = self.0.ask(&members(tag), &[(&key, wish)], AT_LEISURE).await?;
        Ok(match (kind, words.each.first()) {
            (Kind::Units { terms, .. }, Some(Word::Units(grant))) => {
                u64::try_from(i128::from(terms.capacity) - i128::from(grant.seen.level))
                    .unwrap_or(0)
            }
            (Kind::Slots(most), Some(Word::Slots(grant))) => most.saturating_sub(grant.free).into(),
            // By the store's clock it is another day, of which nothing is known.
            (Kind::Units { .. } | Kind::Slots(_), _) => 0,
        })
    }
}
