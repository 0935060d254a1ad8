//! The process's file descriptors, shared out before they run out.
//!
//! Callers' connections may have three eighths of them and connections to SageMaker as many;
//! what is left is for the journal, the keys, the credentials and the configuration. So
//! strangers who connect can never keep the gateway from its own work.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many sockets of one side there may be, of `wanted`. At least one.
pub fn sockets(wanted: usize) -> usize {
    share(wanted, descriptors(wanted))
}

fn share(wanted: usize, descriptors: u64) -> usize {
    let share = usize::try_from(descriptors / 8 * 3).unwrap_or(wanted);
    wanted.min(share).max(1)
}

/// The limit on open files, raised as far as it is of use and the hard limit lets us: the
/// soft one is 1,024 in many a container, for the sake of programs that use `select(2)`.
fn descriptors(sockets: usize) -> u64 {
    let wanted = (sockets as u64).saturating_mul(3);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(now) = current else { return u64::MAX };
    let raised = maximum.unwrap_or(wanted).min(wanted).max(now);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_leave_descriptors_for_the_rest() {
        for (descriptors, expected) in
            [(0, 1), (256, 96), (1_024, 384), (30_000, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(share(10_000, descriptors), expected, "{descriptors}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        let after = descriptors(10_000);
        assert_eq!(getrlimit(Resource::Nofile).current, before.current.map(|_| after));
        assert!(before.current.is_none_or(|before| after >= before));
        assert_eq!(getrlimit(Resource::Nofile).maximum, before.maximum);
    }
}
