//! Concurrency: what several gateways hold of one count together.

use proptest::prelude::*;

use super::model::Model;
use super::{MILLI, TICK};
use crate::limits::shared::slots::{HOLD, Slots};
use crate::limits::shared::terms::SECOND;

/// A gateway's slots, whose requests take a while.
struct Open {
    id: usize,
    slots: Slots,
    ends: Vec<u64>,
}

/// Lets a gateway work for a millisecond; its calls reach the store at once.
fn work(gateway: &mut Open, store: &mut Model, most: u32, offered: u32, lasts: u64, time: u64) {
    let over = gateway.ends.extract_if(.., |end| *end <= time).count();
    (0..over).for_each(|_| gateway.slots.release());
    for _ in 0..offered {
        if gateway.slots.check(time).is_err() {
            answer(gateway, store, most, time);
        }
        if gateway.slots.check(time).is_ok() {
            gateway.slots.take();
            gateway.ends.push(time + lasts);
        }
    }
    if time.is_multiple_of(TICK) {
        answer(gateway, store, most, time);
    }
}

fn answer(gateway: &mut Open, store: &mut Model, most: u32, time: u64) {
    if let Some(ask) = gateway.slots.ask(time) {
        gateway.slots.granted(store.slots(gateway.id, most, ask, time), time);
    }
}

fn opens(count: usize, most: u32) -> Vec<Open> {
    (0..count).map(|id| Open { id, slots: Slots::new(most), ends: Vec::new() }).collect()
}

#[test]
fn hungry_gateways_end_with_equal_shares_of_the_slots() {
    let (mut store, mut gateways) = (Model::default(), opens(2, 64));
    for step in 1..=5_000_u64 {
        let time = step * MILLI;
        for (index, gateway) in gateways.iter_mut().enumerate() {
            let offered = if index == 0 || step > 1_000 { 4 } else { 0 };
            work(gateway, &mut store, 64, offered, 100 * MILLI, time);
        }
        let open: usize = gateways.iter().map(|gateway| gateway.ends.len()).sum();
        assert!(open <= 64, "{open}");
    }
    let open: Vec<_> = gateways.iter().map(|gateway| gateway.ends.len()).collect();
    assert!(open.iter().all(|open| (28..=36).contains(open)), "{open:?}");
}

#[test]
fn slots_that_nobody_uses_ask_for_nothing_and_those_that_are_held_are_renewed_each_second() {
    let mut slots = Slots::new(10);
    assert!((1..200).all(|tick| slots.ask(tick * TICK).is_none()));
    let (mut store, mut asked) = (Model::default(), 0);
    for tick in 200..400 {
        let time = tick * TICK;
        // Two are open from the start, and nothing else comes.
        if slots.check(time).is_ok() && tick < 203 {
            slots.take();
        }
        if let Some(ask) = slots.ask(time) {
            asked += 1;
            slots.granted(store.slots(0, 10, ask, time), time);
        }
    }
    assert!((9..=14).contains(&asked), "{asked} asks in ten seconds");
}

#[test]
fn the_slots_of_a_killed_gateway_return() {
    let (mut store, mut gateways) = (Model::default(), opens(2, 10));
    for step in 1..=1_000_u64 {
        work(&mut gateways[0], &mut store, 10, 2, 60 * SECOND, step * MILLI);
    }
    assert_eq!(gateways[0].ends.len(), 10);
    let killed = 1_000 * MILLI;
    let second = &mut gateways[1];
    for step in 1_001..=2_000_u64 {
        work(second, &mut store, 10, 2, 60 * SECOND, step * MILLI);
    }
    assert_eq!(second.ends.len(), 0, "they are held still");
    let until = (killed + HOLD + SECOND) / MILLI;
    for step in 2_001..=until {
        work(second, &mut store, 10, 2, 60 * SECOND, step * MILLI);
    }
    assert_eq!(second.ends.len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Never more in flight than the limit, whoever dies: a dead gateway's are ended with it.
    #[test]
    fn slots_are_never_granted_twice(
        most in 1_u32..40,
        lasts in 1_u64..400,
        loads in prop::collection::vec(prop::collection::vec(0_u32..4, 3), 1..12),
    ) {
        let (mut store, mut gateways) = (Model::default(), opens(3, most));
        for (phase, offered) in loads.into_iter().enumerate() {
            for step in 1..=300_u64 {
                let time = SECOND + (phase as u64 * 300 + step) * MILLI;
                for (gateway, offered) in gateways.iter_mut().zip(&offered) {
                    work(gateway, &mut store, most, *offered, lasts * MILLI, time);
                }
                let open: usize = gateways.iter().map(|gateway| gateway.ends.len()).sum();
                prop_assert!(open as u32 <= most, "{open} of {most}");
            }
        }
    }
}
