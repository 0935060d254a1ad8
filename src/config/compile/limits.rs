//! A team's limits.

use std::num::NonZeroU32;

use crate::config::at::At;
use crate::config::file::access as file;
use crate::limits::Limit;

pub(super) fn compile(at: &At<'_>, limits: &[file::Limit]) -> Vec<Limit> {
    limits.iter().enumerate().filter_map(|(n, limit)| one(&at.item(n), limit)).collect()
}

/// `None` with a fault, or for a limit that was faulty already.
fn one(at: &At<'_>, file: &file::Limit) -> Option<Limit> {
    match (file.requests, file.burst, file.concurrency) {
        (Some(rate), burst, None) => {
            let Some(per) = rate.non_zero() else {
                let hint = Some("to shut a team out, take its binding away");
                at.key("requests").reject_with("must not be zero", hint);
                return None;
            };
            let burst = burst.and_then(NonZeroU32::new).unwrap_or(per);
            Some(Limit::Requests { per, window: rate.window.length(), burst })
        }
        (None, None, Some(open)) => NonZeroU32::new(open).map(Limit::Concurrency),
        _ if at.damaged() => None,
        (None, Some(_), _) => {
            at.key("burst").reject("`burst` goes with `requests`");
            None
        }
        (None, None, None) => {
            at.reject("a limit is either `requests` or `concurrency`");
            None
        }
        (Some(_), _, Some(_)) => {
            at.reject_with(
                "one limit is either `requests` or `concurrency`",
                Some("write two limits"),
            );
            None
        }
    }
}
