//! What a caller who is alone waits for. The race's latencies are those of a saturated proxy,
//! which say more of the queue before it than of the path through it.

use std::time::Instant;

use crate::Outcome;
use crate::caller::{Caller, Order};
use crate::contenders::{Contender, Kind, PATH};
use crate::load::connect;
use crate::report::{figure, median, verdict};

const REACH_SHARED_US: f64 = 5.0;
/// Requests before each measurement: a lease of a shared limit is sized by its recent use.
const WARM_UP: usize = 2_000;
const REPETITIONS: usize = 10_000;

/// A contender, the connection to it, and how long its answers took in µs.
struct Way<'c> {
    contender: &'c Contender,
    caller: Caller,
    order: Order,
    times: Vec<f64>,
}

/// Asks the contenders in turns, one request at a time, so that a slow spell of the machine
/// falls on all alike, and prints the medians. Gives how many requests each was sent.
pub(crate) async fn measure<'c>(
    contenders: impl IntoIterator<Item = &'c Contender>,
    token: &str,
) -> Outcome<usize> {
    let mut ways = Vec::new();
    for contender in contenders {
        let caller = connect(contender.address).await?;
        let order = Order::new(contender.address, PATH, token)?;
        ways.push(Way { contender, caller, order, times: Vec::new() });
    }
    for _ in 0..WARM_UP + REPETITIONS {
        for way in &mut ways {
            way.ask().await?;
        }
    }
    let p50 = |kind| ways.iter().find(|way| way.contender.kind == kind).map(Way::p50);
    for way in &ways {
        figure(&format!("p50 of a caller alone, µs: {}", way.contender.kind), way.p50());
    }
    if let (Some(shared), Some(local)) = (p50(Kind::SagegateShared), p50(Kind::Sagegate)) {
        verdict("p50 that limits in Redis add, µs", Some(shared - local), REACH_SHARED_US);
    }
    Ok(WARM_UP + REPETITIONS)
}

impl Way<'_> {
    async fn ask(&mut self) -> Outcome {
        let begun = Instant::now();
        self.order.run(&mut self.caller).await?;
        self.times.push(begun.elapsed().as_secs_f64() * 1e6);
        Ok(())
    }

    fn p50(&self) -> f64 {
        median(self.times.iter().copied().skip(WARM_UP).collect())
    }
}
