//! Rates and quotas: what several gateways' leases of one count admit together.

use proptest::prelude::*;

use super::model::Model;
use super::{MILLI, TICK};
use crate::limits::shared::lease::{Ask, Empty, Grant, Lease, OnFailure, Seen, Spent};
use crate::limits::shared::terms::{SECOND, Terms};

/// For how long a request waits for the store.
const TIMEOUT: u64 = 20 * MILLI;

fn rate(per_second: u64, burst: u64) -> Terms {
    Terms { capacity: burst, per: per_second, window: SECOND }
}

fn quota(units: u64) -> Terms {
    Terms { capacity: units, per: 0, window: 1 }
}

/// A gateway with one lease of units.
struct Gateway {
    id: usize,
    lease: Lease,
    /// Its clock: where it starts, and thousandths by which it is fast.
    clock: (u64, i64),
    call: Option<Call>,
    /// Requests that wait, by when they give up.
    waiting: Vec<u64>,
    /// What was admitted and not sent, by what it is given back by.
    unsent: Vec<Spent>,
    ticked: u64,
}

struct Call {
    ask: Ask,
    arrives: u64,
    answer: Option<Grant>,
    returns: u64,
}

impl Gateway {
    fn new(id: usize, terms: Terms, clock: (u64, i64)) -> Self {
        let (waiting, unsent) = (Vec::new(), Vec::new());
        Self { id, lease: Lease::new(terms), clock, call: None, waiting, unsent, ticked: 0 }
    }

    fn now(&self, time: u64) -> u64 {
        let (start, fast) = self.clock;
        start + time.saturating_add_signed(time as i64 / 1_000 * fast)
    }
}

struct World {
    terms: Terms,
    time: u64,
    store: Model,
    down: bool,
    /// What is admitted is not sent yet.
    holds: bool,
    gateways: Vec<Gateway>,
    born: usize,
    /// When each unit was admitted.
    admitted: Vec<u64>,
    calls: usize,
}

impl World {
    fn new(terms: Terms, gateways: usize) -> Self {
        let mut world = Self {
            terms,
            time: SECOND,
            store: Model::default(),
            down: false,
            holds: false,
            gateways: Vec::new(),
            born: 0,
            admitted: Vec::new(),
            calls: 0,
        };
        (0..gateways).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let id = self.born;
        self.born += 1;
        let clock = (id as u64 * 977 * SECOND, (id as i64 * 7) % 21 - 10);
        self.gateways.push(Gateway::new(id, self.terms, clock));
    }

    /// A gateway is killed, and another one started in its place.
    fn crash(&mut self, which: usize) {
        let which = which % self.gateways.len();
        self.gateways.remove(which);
        self.join();
    }

    /// Lets a millisecond pass, in which gateway `i` is sent `offered(i)` requests.
    fn step(&mut self, offered: impl Fn(usize) -> u64) {
        self.time += MILLI;
        let time = self.time;
        for (index, gateway) in self.gateways.iter_mut().enumerate() {
            deliver(gateway, &mut self.store, &self.terms, self.down, time);
            let now = gateway.now(time);
            let fresh = (0..offered(index)).map(|_| time + TIMEOUT);
            let mut wake = false;
            for until in std::mem::take(&mut gateway.waiting).into_iter().chain(fresh) {
                match gateway.lease.check(1, now) {
                    Ok(()) => {
                        let spent = gateway.lease.take(1, now);
                        if self.holds {
                            gateway.unsent.push(spent);
                        } else {
                            self.admitted.push(time);
                        }
                        wake |= gateway.lease.is_low(now);
                    }
                    Err(Empty::Ask) if until > time => {
                        gateway.lease.wait(1, now);
                        wake = true;
                        gateway.waiting.push(until);
                    }
                    Err(_) => {}
                }
            }
            wake |= time - gateway.ticked >= TICK;
            if wake && gateway.call.is_none() {
                gateway.ticked = time;
                if let Some(ask) = gateway.lease.ask(now) {
                    self.calls += 1;
                    let (arrives, returns) = (time + MILLI, time + 2 * MILLI);
                    gateway.call = Some(Call { ask, arrives, answer: None, returns });
                }
            }
        }
    }

    fn run(&mut self, millis: u64, offered: impl Fn(usize) -> u64) {
        (0..millis).for_each(|_| self.step(&offered));
    }

    /// Everything that is held comes to nothing.
    fn abort(&mut self) {
        for gateway in &mut self.gateways {
            let now = gateway.now(self.time);
            for spent in gateway.unsent.drain(..).rev() {
                gateway.lease.give_back(spent, 1, now);
            }
        }
    }

    fn outage(&mut self, on_failure: OnFailure) {
        self.down = true;
        for gateway in &mut self.gateways {
            let now = gateway.now(self.time);
            if let Some(call) = gateway.call.take() {
                gateway.lease.unanswered(&call.ask);
            }
            gateway.lease.leave(on_failure, 1, now);
        }
    }

    fn recovery(&mut self) {
        self.down = false;
        for gateway in &mut self.gateways {
            let now = gateway.now(self.time);
            gateway.lease.rejoin(now);
        }
    }

    /// The least burst with which `rate` alone would have admitted all this.
    fn burst_needed(&self) -> f64 {
        let per_nano = self.terms.per as f64 / self.terms.window as f64;
        let (mut level, mut most, mut last) = (0.0_f64, 0.0_f64, 0);
        for at in &self.admitted {
            level = (level - (at - last) as f64 * per_nano).max(0.0) + 1.0;
            (most, last) = (most.max(level), *at);
        }
        most
    }

    /// What docs/limits.md promises: 5 % of what is admitted in ten seconds, or one request a
    /// gateway.
    fn slack(&self) -> f64 {
        let per_second = self.terms.per as f64 * SECOND as f64 / self.terms.window as f64;
        let in_ten = self.terms.capacity as f64 + 10.0 * per_second;
        (in_ten * 0.05).max(self.born as f64)
    }

    fn assert_within_bound(&self) {
        let (needed, slack) = (self.burst_needed(), self.slack());
        let burst = self.terms.capacity as f64;
        assert!(needed <= burst + slack + 1e-6, "{needed} > {burst} + {slack}");
    }
}

fn deliver(gateway: &mut Gateway, store: &mut Model, terms: &Terms, down: bool, time: u64) {
    let now = gateway.now(time);
    let Some(call) = &mut gateway.call else { return };
    if down {
        return;
    }
    if call.answer.is_none() && time >= call.arrives {
        call.answer = Some(store.units(gateway.id, terms, call.ask, time));
    }
    if let Some(grant) = call.answer.filter(|_| time >= call.returns) {
        gateway.call = None;
        gateway.lease.granted(grant, now);
    }
}

#[test]
fn ten_times_the_load_is_admitted_up_to_the_limit_by_any_number_of_gateways() {
    for (per_second, burst) in [(200, 400), (100, 1), (5, 10), (20_000, 20_000), (50, 5_000)] {
        for gateways in [1, 2, 4] {
            let mut world = World::new(rate(per_second, burst), gateways);
            let each = (per_second / 100 / gateways as u64).max(1);
            world.run(10_000, |_| each);
            world.assert_within_bound();
            let (got, limit) = (world.admitted.len() as f64, (burst + 10 * per_second) as f64);
            let least = (limit * 0.95).min(each as f64 * gateways as f64 * 10_000.0);
            let most = limit + world.slack();
            assert!(least <= got && got <= most, "{per_second}/s, {gateways}: {got} of {limit}");
        }
    }
}

#[test]
fn a_use_below_the_limit_never_waits_after_the_first_request_and_asks_rarely() {
    let mut world = World::new(rate(10_000, 10_000), 2);
    world.run(200, |_| 2);
    let (asked, admitted) = (world.calls, world.admitted.len());
    for _ in 0..10_000 {
        world.step(|_| 2);
        assert!(world.gateways.iter().all(|gateway| gateway.waiting.is_empty()));
    }
    let (asked, admitted) = (world.calls - asked, world.admitted.len() - admitted);
    assert_eq!(admitted, 40_000, "everything");
    assert!(asked * 1_000 / admitted < 10, "{asked} calls for {admitted} requests");
}

#[test]
fn one_gateway_may_use_all_of_it_when_the_others_are_idle() {
    let mut world = World::new(rate(1_000, 1_000), 4);
    world.run(500, |_| 1);
    world.run(20_000, |gateway| if gateway == 0 { 3 } else { 0 });
    let from = world.admitted.partition_point(|at| *at < 11 * SECOND);
    let got = world.admitted.len() - from;
    assert!((9_900..=10_500).contains(&got), "{got} in the last 10.5 s");
}

#[test]
fn a_quota_is_used_to_the_last_unit_and_never_beyond() {
    for gateways in [1, 2, 4] {
        let mut world = World::new(quota(10_000), gateways);
        world.run(6_000, |_| 5);
        assert_eq!(world.admitted.len(), 10_000);
    }
}

#[test]
fn a_lease_that_nobody_uses_asks_for_nothing() {
    let mut world = World::new(rate(100, 100), 2);
    world.run(3_000, |_| 0);
    assert_eq!(world.calls, 0);
    world.run(1, |_| 1);
    assert_eq!(world.calls, 2);
}

#[test]
fn what_is_idle_is_given_back() {
    let mut world = World::new(quota(1_000), 2);
    world.run(50, |gateway| if gateway == 0 { 1 } else { 0 });
    let used = world.admitted.len();
    world.run(1_500, |_| 0);
    let (level, ..) = world.store.level.unwrap();
    assert_eq!(level as usize, 1_000 - used);
    world.run(1_000, |_| 0);
    let gateway = &world.gateways[0];
    assert!(gateway.lease.is_idle(gateway.now(world.time)));
}

#[test]
fn what_comes_to_nothing_is_there_again_and_what_time_has_paid_for_is_not_there_twice() {
    for (held_for, expected) in [(50, 100..=101), (5_000, 100..=102)] {
        let mut world = World::new(rate(20, 100), 1);
        world.holds = true;
        world.run(100, |_| 5);
        assert!((100..=102).contains(&world.gateways[0].unsent.len()));
        world.run(held_for, |_| 0);
        world.abort();
        world.holds = false;
        world.run(100, |_| 5);
        let got = world.admitted.len();
        assert!(expected.contains(&got), "{got} after {held_for} ms");
    }
}

#[test]
fn a_store_that_lost_its_memory_learns_from_the_gateways() {
    let mut world = World::new(quota(10_000), 2);
    world.run(400, |_| 5);
    world.store = Model::default();
    world.run(3_000, |_| 5);
    // What another gateway took since the first to ask was last told.
    let slices = world.terms.all_slices() as usize;
    let got = world.admitted.len();
    assert!((10_000..=10_000 + slices).contains(&got), "{got}");
}

#[test]
fn a_replica_that_lagged_learns_from_the_gateways() {
    let mut world = World::new(quota(10_000), 2);
    world.run(200, |_| 5);
    let lagging = world.store.replica();
    world.run(600, |_| 5);
    world.outage(OnFailure::Closed);
    world.store = lagging;
    world.recovery();
    world.run(3_000, |_| 5);
    // What another gateway took since the first to ask was last told.
    let slices = world.terms.all_slices() as usize;
    let got = world.admitted.len();
    assert!((10_000 - slices..=10_000 + slices).contains(&got), "{got}");
}

#[test]
fn an_outage_leaves_each_gateway_its_fair_share() {
    let mut world = World::new(rate(400, 400), 4);
    world.run(5_000, |_| 1);
    world.outage(OnFailure::Local);
    let before = world.admitted.len();
    world.run(10_000, |_| 1);
    let got = world.admitted.len() - before;
    assert!((3_800..=4_400).contains(&got), "{got} of 4000 while it was down");
    // Those that died meanwhile do not matter; those that were started know no share.
    world.recovery();
    world.run(5_000, |_| 1);
    world.assert_within_bound();
}

#[test]
fn a_store_that_comes_back_empty_is_told_by_all_before_much_is_taken() {
    let mut world = World::new(quota(10_000), 2);
    // The first one's knowledge is old when the store goes.
    world.run(100, |gateway| if gateway == 0 { 5 } else { 0 });
    world.run(1_900, |gateway| if gateway == 1 { 3 } else { 0 });
    world.outage(OnFailure::Local);
    world.store = Model::default();
    world.recovery();
    world.run(100, |_| 0);
    world.run(6_000, |_| 5);
    let got = world.admitted.len();
    assert!((9_800..=10_000).contains(&got), "{got}");
}

#[test]
fn open_admits_everything_and_closed_nothing_beyond_the_lease() {
    for (on_failure, expected) in [(OnFailure::Open, 20_000..=20_000), (OnFailure::Closed, 0..=100)]
    {
        let mut world = World::new(rate(400, 400), 4);
        world.run(1_000, |_| 1);
        world.outage(on_failure);
        let before = world.admitted.len();
        world.run(5_000, |_| 1);
        let got = world.admitted.len() - before;
        assert!(expected.contains(&got), "{on_failure:?}: {got}");
    }
}

#[test]
fn what_was_used_of_a_quota_in_an_outage_is_paid_afterwards() {
    let mut world = World::new(quota(10_000), 2);
    world.run(500, |_| 2);
    world.outage(OnFailure::Local);
    world.run(1_000, |_| 2);
    world.recovery();
    world.run(6_000, |_| 2);
    assert_eq!(world.admitted.len(), 10_000);
}

#[test]
fn a_cost_that_is_known_at_the_end_is_paid_before_more_is_granted() {
    let (terms, mut store) = (rate(10, 100), Model::default());
    let mut lease = Lease::new(terms);
    assert_eq!(lease.check(1, 0), Err(Empty::Ask));
    let ask = lease.ask(0).unwrap();
    lease.granted(store.units(0, &terms, ask, SECOND), 0);
    assert_eq!(lease.check(1, 0), Ok(()));
    lease.take(150, 0);
    let ask = lease.ask(0).unwrap();
    assert!(ask.debt > 140, "{ask:?}");
    lease.granted(store.units(0, &terms, ask, SECOND), 0);
    // 50 too many, at ten a second, and the one that is asked for.
    let Err(Empty::UsedUp(wait)) = lease.check(1, 0) else { panic!("admitted") };
    assert_eq!(wait, 51 * SECOND / 10);
}

/// Whoever waits tries again with each answer, also with those to others.
#[test]
fn a_request_that_tries_again_needs_no_more_for_it() {
    let mut lease = Lease::new(rate(1, 100));
    let tries = |lease: &mut Lease, now| {
        assert_eq!(lease.check(1, now), Err(Empty::Ask));
        lease.wait(1, now);
    };
    tries(&mut lease, 0);
    assert_eq!(lease.ask(0).map(|ask| (ask.want, ask.need)), Some((1, 1)));
    (0..50).for_each(|_| tries(&mut lease, 1));
    let seen = Seen { level: 99, at: 1 };
    lease.granted(Grant { granted: 1, seen, gateways: 5 }, MILLI);
    assert_eq!(lease.check(1, MILLI), Ok(()));
    lease.take(1, MILLI);
    assert_eq!(lease.ask(MILLI).map(|ask| (ask.want, ask.need)), Some((1, 0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever gateways come, go and are sent, together they keep within the bound.
    #[test]
    fn the_bound_holds_whoever_dies_and_whatever_is_offered(
        (per_second, burst) in (1_u64..2_000, 1_u64..4_000),
        gateways in 1_usize..6,
        phases in prop::collection::vec((20_u64..900, prop::collection::vec(0_u64..8, 6), any::<Option<u8>>()), 1..8),
    ) {
        let mut world = World::new(rate(per_second, burst), gateways);
        for (millis, offered, crash) in phases {
            world.run(millis, |gateway| offered[gateway]);
            if let Some(which) = crash {
                world.crash(which.into());
            }
        }
        world.assert_within_bound();
    }

    /// Nor does it help to have much admitted, to wait, and to give it all back.
    #[test]
    fn nothing_is_banked_by_what_is_not_sent(
        (per_second, burst) in (1_u64..500, 1_u64..1_000),
        gateways in 1_usize..4,
        phases in prop::collection::vec((1_u64..1_500, 0_u64..8, any::<bool>(), any::<bool>()), 1..10),
    ) {
        let mut world = World::new(rate(per_second, burst), gateways);
        for (millis, offered, holds, aborts) in phases {
            world.holds = holds;
            world.run(millis, |_| offered);
            if aborts {
                world.abort();
            }
        }
        world.assert_within_bound();
    }

    /// A quota loses a lease with each gateway that dies, and gains none.
    #[test]
    fn a_quota_is_exact_up_to_a_lease_of_each_killed_gateway(
        units in 500_u64..20_000,
        gateways in 1_usize..5,
        crashes in prop::collection::vec((1_u64..400, 0_usize..5), 0..6),
    ) {
        let mut world = World::new(quota(units), gateways);
        let lost = crashes.len() as u64 * (world.terms.all_slices() / 2).max(1);
        for (millis, which) in crashes {
            world.run(millis, |_| 3);
            world.crash(which);
        }
        world.run(15_000, |_| 3);
        let got = world.admitted.len() as u64;
        prop_assert!(got <= units, "{got} of {units}");
        prop_assert!(got >= units - lost, "{got} of {units}, {lost} lost at most");
    }
}
