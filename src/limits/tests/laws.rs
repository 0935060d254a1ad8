//! What holds whatever callers do, over generated limits, callers and times.

use proptest::prelude::*;

use super::*;

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const TEAMS: [Option<&str>; 3] = [Some("fraud"), Some("risk"), None];

#[derive(Clone, Debug)]
enum Step {
    Wait(Duration),
    /// A call, and whether it is sent; unsent ones are dropped at once.
    Ask {
        user: usize,
        team: usize,
        body: u64,
        declared: bool,
        sent: bool,
    },
    /// One of the open calls ends, or its caller leaves.
    End(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = (0_usize..3, 0_usize..3, 0_u64..9, any::<bool>(), prop::bool::weighted(0.8));
    let step = prop_oneof![
        2 => (0_u64..700).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
        6 => ask.prop_map(|(user, team, body, declared, sent)| {
            Step::Ask { user, team, body, declared, sent }
        }),
        3 => (0_usize..32).prop_map(Step::End),
    ];
    prop::collection::vec(step, 0..90)
}

/// A call that was sent: when, by whom, and how long its body was.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Duration,
    who: Who,
    body: u64,
}

/// Runs the steps; tells each call that was sent to `watch`, with those open by then.
fn run(limits: &Limits, steps: &[Step], mut watch: impl FnMut(&Sent, &[(Admitted, Sent)])) {
    let (test, mut now) = (Test::begin(), START);
    let mut open: Vec<(Admitted, Sent)> = Vec::new();
    for step in steps {
        match step {
            Step::Wait(more) => now += *more,
            Step::Ask { user, team, body, declared, sent } => {
                let who = Who {
                    user: USERS[*user],
                    team: TEAMS[*team],
                    body: declared.then_some(*body),
                    ..FRAUD
                };
                let Ok(mut admitted) = limits.ask(who, test.at(now)) else { continue };
                if admitted.read(*body, test.at(now)).is_ok() && *sent {
                    admitted.sent(test.at(now).instant);
                    let sent = Sent { at: now, who, body: *body };
                    open.push((admitted, sent));
                    watch(&sent, &open);
                }
            }
            Step::End(which) if !open.is_empty() => {
                let (mut admitted, _) = open.remove(which % open.len());
                admitted.ended(test.at(now));
            }
            Step::End(_) => {}
        }
    }
}

/// Any span of t holds at most `burst + t · quota / 1 s` units.
fn within_rate(sent: &[(Duration, u64)], quota: u128, burst: u128) -> bool {
    sent.iter().enumerate().all(|(first, (from, _))| {
        let mut units = 0;
        sent.iter().skip(first).all(|(to, more)| {
            units += u128::from(*more);
            let beyond = units.saturating_sub(burst);
            beyond * 1_000_000_000 <= (*to - *from).as_nanos() * quota
        })
    })
}

proptest! {
    #[test]
    fn no_window_of_any_key_holds_more_than_the_burst_and_its_share_of_the_rate(
        (quota, burst, own, bytes) in (1_u64..6, 1_u64..6, 1_u64..4, 9_u64..30),
        steps in steps(),
    ) {
        let limits = limits(&[
            everybody(requests(quota, burst)),
            everybody(per(Per::User, requests(own, own))),
            everybody(per(Per::Team, rate(Unit::BodyBytes, bytes, Period::Second, bytes))),
        ]);
        let mut all: Vec<Sent> = Vec::new();
        run(&limits, &steps, |sent, _| all.push(*sent));
        let of = |whose: &dyn Fn(&Sent) -> bool, units: fn(&Sent) -> u64| -> Vec<_> {
            all.iter().filter(|sent| whose(sent)).map(|sent| (sent.at, units(sent))).collect()
        };
        prop_assert!(within_rate(&of(&|_| true, |_| 1), quota.into(), burst.into()));
        for user in USERS {
            let sent = of(&|sent| sent.who.user == user, |_| 1);
            prop_assert!(within_rate(&sent, own.into(), own.into()), "{user} {sent:?}");
        }
        for team in TEAMS {
            let sent = of(&|sent| sent.who.team == team, |sent| sent.body);
            prop_assert!(within_rate(&sent, bytes.into(), bytes.into()), "{team:?} {sent:?}");
        }
    }

    /// However they end, and whatever else refuses.
    #[test]
    fn no_more_calls_are_open_than_concurrency_allows_and_none_is_left_behind(
        (most, own) in (1_u32..5, 1_u32..3),
        steps in steps(),
    ) {
        let limits = limits(&[
            everybody(requests(9, 9)),
            everybody(concurrency(most)),
            everybody(per(Per::User, concurrency(own))),
        ]);
        run(&limits, &steps, |sent, open| {
            assert!(open.len() <= most as usize);
            let own_open = open.iter().filter(|(_, other)| other.who.user == sent.who.user);
            assert!(own_open.count() <= own as usize);
        });
        let later = Test::begin().at(24 * HOUR);
        let held: Vec<_> = (0..most).map(|n| {
            let user = USERS[(n / own) as usize % 3];
            limits.send(Who { user, ..FRAUD }, later)
        }).collect();
        let free = held.iter().filter(|one| one.is_ok()).count();
        prop_assert_eq!(free, most.min(3 * own) as usize);
    }

    /// What others ask for, however much, changes nothing for a team that asks for its own.
    #[test]
    fn a_team_gets_its_share_whatever_the_others_do(
        (quota, burst, most) in (1_u64..6, 1_u64..6, 1_u32..4),
        steps in steps(),
    ) {
        let own = [requests(quota, burst), concurrency(most)];
        let theirs = own.clone().map(|limit| of("risk", limit));
        let together = limits(&[own.clone(), theirs].concat());
        let alone = limits(&own);
        let kept: Vec<_> = steps.iter().filter(|step| match step {
            Step::Ask { team, .. } => TEAMS[*team] == Some("fraud"),
            Step::Wait(_) => true,
            Step::End(_) => false,
        }).cloned().collect();
        let crowded: Vec<_> =
            steps.into_iter().filter(|step| !matches!(step, Step::End(_))).collect();
        let sent = |limits: &Limits, steps: &[Step]| {
            let mut times = Vec::new();
            run(limits, steps, |sent, _| {
                if sent.who.team == Some("fraud") {
                    times.push(sent.at);
                }
            });
            times
        };
        prop_assert_eq!(sent(&together, &crowded), sent(&alone, &kept));
    }

    /// Against a twin that is only asked what it would surely admit: if a refusal took
    /// anything from any limit, the two would part.
    #[test]
    fn a_request_takes_from_all_limits_or_from_none(
        steps in prop::collection::vec((0_u64..400, 0_usize..4, 0_u64..9, any::<bool>()), 0..60),
        (fast, slow, most) in (1_u64..6, 1_u64..6, 1_u32..4),
    ) {
        let of = [
            requests(3, fast),
            per(Per::User, requests(2, slow)),
            concurrency(most),
            rate(Unit::BodyBytes, 20, Period::Second, 20),
            day(Unit::Requests, 40, "UTC"),
        ];
        let (asked, alone) = (limits(&of), of.map(|limit| limits(&[limit])));
        let (test, mut now, mut held) = (Test::begin(), START, Vec::new());
        for (millis, finished, body, sent) in steps {
            now += Duration::from_millis(millis);
            held.truncate(held.len().saturating_sub(finished));
            let (now, who) = (test.at(now), Who { body: Some(body), ..FRAUD });
            let fits = alone.iter().all(|one| one.ask(who, now).is_ok());
            let answer = asked.ask(who, now);
            prop_assert_eq!(answer.is_ok(), fits);
            if let Ok(admitted) = answer && sent {
                admitted.sent(now.instant);
                let singly: Vec<_> = alone.iter().map(|one| one.send(who, now).unwrap()).collect();
                held.push((admitted, singly));
            }
        }
    }
}
