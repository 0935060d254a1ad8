//! What the store is asked, in its own words: one script for all limits of a team.
//!
//! The script is one atomic step by the server's clock; its keys carry the team's hash tag, so
//! that a cluster keeps them on one node, and each lives no longer than it says anything.

use redis::{ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};

use super::lease::{Ask, Grant, Seen};
use super::slots::{HOLD, SlotsAsk, SlotsGrant};
use super::terms::Terms;

const CODE: &str = include_str!("script.lua");

/// One limit's part of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Units { terms: Terms, ask: Ask, day: Option<Day> },
    Slots { most: u32, ask: SlotsAsk },
}

/// The store's word on one wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Units(Grant),
    Slots(SlotsGrant),
    /// By the store's clock it is another day.
    OtherDay,
}

/// When a day's quota begins and ends, in microseconds of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Day {
    pub(in crate::limits) from: u64,
    pub(in crate::limits) to: u64,
}

/// Everything the store said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Microseconds, by the store's clock.
    pub now: u64,
    pub gateways: u64,
    pub each: Vec<Word>,
}

pub(super) fn script() -> Script {
    Script::new(CODE)
}

/// The call for all these wishes. `members` is the key of the gateways that use them.
pub(super) fn call<'s, 'w>(
    script: &'s Script,
    gateway: &str,
    members: &str,
    wishes: impl Iterator<Item = (&'w str, &'w Wish)> + Clone,
) -> ScriptInvocation<'s> {
    let mut call = script.prepare_invoke();
    let active = wishes.clone().any(|(_, wish)| wish.wants()) || wishes.clone().next().is_none();
    call.key(members).arg(gateway).arg(u8::from(active));
    for (key, wish) in wishes {
        call.key(key);
        wish.write(&mut call);
    }
    call
}

impl Wish {
    fn wants(&self) -> bool {
        match self {
            Self::Units { ask, .. } => ask.want > 0,
            Self::Slots { ask, .. } => ask.want > 0,
        }
    }

    fn write(&self, call: &mut ScriptInvocation<'_>) {
        match self {
            Self::Units { terms, ask, day } => {
                let Ask { want, need, back, unsent, debt, seen } = *ask;
                let Seen { level, at } = seen.unwrap_or(Seen { level: 0, at: 0 });
                let Day { from, to } = day.unwrap_or(Day { from: 0, to: 0 });
                let window = terms.window.div_ceil(1_000).max(1);
                call.arg("units").arg(&[terms.depth(), terms.per, window, terms.all_slices()][..]);
                call.arg(&[want, need, back, unsent / 1_000, debt][..])
                    .arg(level)
                    .arg(&[at, from, to][..]);
            }
            Self::Slots { most, ask } => {
                call.arg("slots").arg(*most).arg(ask.used).arg(ask.want).arg(HOLD / 1_000);
            }
        }
    }

    fn read(&self, one: i64, other: i64, now: u64, gateways: u64) -> Word {
        match self {
            Self::Units { .. } => match u64::try_from(one) {
                Ok(granted) => {
                    Word::Units(Grant { granted, seen: Seen { level: other, at: now }, gateways })
                }
                Err(_) => Word::OtherDay,
            },
            Self::Slots { .. } => {
                let whole = |n| u32::try_from(n).unwrap_or(0);
                Word::Slots(SlotsGrant { allowed: whole(one), free: whole(other), gateways })
            }
        }
    }
}

/// Reads the answer to [`call`] with these wishes.
///
/// # Errors
/// When it is not what the script gives.
pub(super) fn read<'w>(
    answer: redis::Value,
    wishes: impl ExactSizeIterator<Item = &'w Wish>,
) -> Result<Words, RedisError> {
    let numbers = Vec::<i64>::from_redis_value(answer)?;
    let strange = || RedisError::from((ErrorKind::UnexpectedReturnType, "not the script's answer"));
    let Some((&[now, gateways], each)) = numbers.split_first_chunk() else { return Err(strange()) };
    let (Ok(now), Ok(gateways)) = (u64::try_from(now), u64::try_from(gateways)) else {
        return Err(strange());
    };
    let (pairs, rest) = each.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != wishes.len() {
        return Err(strange());
    }
    let each = wishes.zip(pairs).map(|(wish, [one, other])| wish.read(*one, *other, now, gateways));
    Ok(Words { now, gateways, each: each.collect() })
}
