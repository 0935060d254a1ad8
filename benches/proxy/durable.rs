//! What each durability of the record costs through the whole gateway: CPU a request, and how
//! much longer callers wait for `fsync` than for `write`.

use std::path::Path;

use crate::Outcome;
use crate::contenders::{Contender, Course, Kind};
use crate::report::{figure, median};
use crate::run::{Load, Turn, take_turn};

const CALLERS: [usize; 3] = [1, 16, 256];
const ROUNDS: usize = 3;

/// One round: each durability's turn.
struct Round {
    memory: Turn,
    write: Turn,
    fsync: Turn,
}

/// Measures and prints them, in turns of so many requests.
pub(crate) async fn measure(course: &Course<'_>, tokens: &Path, requests: usize) -> Outcome {
    let directory = course.directory.join("durable");
    let course = Course { directory: &directory, ..*course };
    let memory = Contender::start(Kind::SagegateMemory, &course).await?;
    let write = Contender::start(Kind::Sagegate, &course).await?;
    let fsync = Contender::start(Kind::SagegateFsync, &course).await?;
    for connections in CALLERS {
        eprintln!("durabilities: {connections} at once");
        let load = Load { connections, warm_up: requests / 10, requests };
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(Round {
                memory: take_turn(&load, &memory, course.upstream, tokens).await?,
                write: take_turn(&load, &write, course.upstream, tokens).await?,
                fsync: take_turn(&load, &fsync, course.upstream, tokens).await?,
            });
        }
        report(connections, &rounds);
    }
    Ok(())
}

fn report(connections: usize, rounds: &[Round]) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let say = |what: &str, value: f64| figure(&format!("{connections} at once: {what}"), value);
    say("CPU a request at memory, µs", of(|round| round.memory.cpu_us));
    say("CPU a request at write, µs", of(|round| round.write.cpu_us));
    say("CPU a request at fsync, µs", of(|round| round.fsync.cpu_us));
    say("p50 at write, µs", of(|round| round.write.tally.p50_us));
    let added = |round: &Round| round.fsync.tally.p50_us - round.write.tally.p50_us;
    say("what fsync adds to p50, µs", of(added));
    say("p99 at write, µs", of(|round| round.write.tally.p99_us));
    let added = |round: &Round| round.fsync.tally.p99_us - round.write.tally.p99_us;
    say("what fsync adds to p99, µs", of(added));
}
