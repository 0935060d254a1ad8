//! What the demo says. Plain text; colour only on a terminal that wants it.
//!
//! Everything is made as a `String` first, so that tests read what a stranger reads.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::Path;

use super::personas::{ISSUER, PERSONAS};
use super::play::Outcome;

/// Whether to colour, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// Colour on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
    pub(super) fn of_stdout() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: io::stdout().is_terminal() && !refused }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn quiet(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn name(self, text: &str) -> String {
        self.paint("36", text)
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }
}

/// What runs where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    pub gateway: &'a str,
    pub admin: &'a str,
    pub issuer: &'a str,
    pub sagemaker: &'a str,
    pub directory: &'a Path,
    /// This program, as a shell finds it.
    pub program: &'a Path,
}

/// What runs where, and who the people are.
pub(super) fn opening(places: Places<'_>, style: Style) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{}\n", style.title("sagegate: who may call which SageMaker endpoint"));
    for (name, place, what) in [
        ("gateway", places.gateway, "checks the token, decides, signs, records"),
        ("issuer", places.issuer, "says who people are (OpenID Connect)"),
        ("sagemaker", places.sagemaker, "a stand-in; answers right signatures only"),
        ("admin", places.admin, "/livez, /readyz, /metrics"),
    ] {
        let name = style.name(&format!("{name:<10}"));
        let _ = writeln!(out, "  {name} {place:<23} {}", style.quiet(what));
    }
    out.push('\n');
    for who in &PERSONAS {
        let groups: Vec<_> = who.groups.iter().map(|g| format!("{ISSUER}/{g}")).collect();
        let groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
        let name = style.name(&format!("{:<10}", who.name));
        let _ = writeln!(out, "  {name} {:<16}{groups:<12} may call {}", who.title, who.may);
    }
    out
}

/// Lines to paste into another terminal.
pub(super) fn to_paste(places: Places<'_>, style: Style) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{}\n", style.title("Paste into another terminal"));
    let _ = writeln!(out, "cd '{}'; GATEWAY={}", places.directory.display(), places.gateway);
    for (what, answer, lines) in LINES {
        let answer = if answer.starts_with('2') { style.good(answer) } else { style.bad(answer) };
        let _ = writeln!(out, "\n{} {answer}\n{lines}", style.quiet(&format!("# {what}:")));
    }
    let _ = writeln!(out, "\n{}\n", style.title("Look behind it, in the same directory"));
    let program = places.program.display();
    for (what, line) in [
        ("who called", format!("'{program}' audit query --format table audit")),
        ("the record", "grep -h '\"request\"' audit/*.jsonl | tail -n 1".to_owned()),
        ("the metrics", format!("curl -s {}/metrics | grep ^sagegate_requests", places.admin)),
        ("the rules", "cat access.yaml".to_owned()),
    ] {
        let _ = writeln!(out, "  {} {line}", style.name(&format!("{what:<12}")));
    }
    let _ = writeln!(out, "\n{}", style.quiet("Ctrl-C ends the demo and removes its directory."));
    out
}

/// What the line does, what it is answered, the line. None needs more than `GATEWAY` and the
/// tokens of the demo's directory.
const LINES: [(&str, &str, &str); 5] = [
    (
        "dana calls a model in a test environment",
        "200",
        r#"curl -i $GATEWAY/endpoints/summarizer/invocations \
  -H "Authorization: Bearer $(cat dana.jwt)" \
  -H 'Content-Type: application/json' -d '{"text": "hi"}'"#,
    ),
    (
        "amir asks for a variant that he may not have",
        "403",
        r#"curl -i $GATEWAY/endpoints/fraud-v1/invocations \
  -H "Authorization: Bearer $(cat amir.jwt)" \
  -H 'X-Amzn-SageMaker-Target-Variant: canary' \
  -H 'Content-Type: application/json' -d '{"text": "hi"}'"#,
    ),
    (
        "a stream, token by token",
        "200",
        r#"curl -sN $GATEWAY/endpoints/summarizer/invocations-response-stream \
  -H "Authorization: Bearer $(cat dana.jwt)" \
  -H 'Content-Type: application/json' -d '{"text": "hi"}' \
  | grep -ao '{"token.*}'"#,
    ),
    (
        "dana's token with one character changed",
        "401",
        r#"curl -i $GATEWAY/endpoints/summarizer/invocations \
  -H "Authorization: Bearer $(cat altered.jwt)" \
  -H 'Content-Type: application/json' -d '{"text": "hi"}'"#,
    ),
    (
        "boto3 as it is: the environment alone leads it here",
        "200",
        r#"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=$GATEWAY AWS_SESSION_TOKEN=$(cat dana.jwt) \
AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1 \
python3 -c 'import boto3
print(boto3.client("sagemaker-runtime").invoke_endpoint(
    EndpointName="summarizer", ContentType="application/json",
    Body="{\"text\": \"hi\"}")["Body"].read().decode())'"#,
    ),
];

/// Caller × call → answer.
pub(super) fn table(outcomes: &[Outcome], style: Style) -> String {
    let labels: Vec<_> = outcomes.iter().map(|outcome| outcome.call.label()).collect();
    let widest = labels.iter().map(String::len).max().unwrap_or_default();
    let mut out = String::new();
    let head = format!("  {:<17}  {:<widest$}  answer", "caller", "call");
    let _ = writeln!(out, "\n{}", style.title(&head));
    for (outcome, label) in outcomes.iter().zip(&labels) {
        let caller = style.name(&format!("{:<17}", outcome.call.by.label()));
        let answer = if outcome.as_expected {
            format!("{} {}", style.good("✓"), outcome.answer)
        } else {
            let expected = style.bad(&format!("(expected {})", expectation(outcome)));
            format!("{} {} {expected}", style.bad("✗"), outcome.answer)
        };
        let _ = writeln!(out, "  {caller}  {label:<widest$}  {answer}");
    }
    out
}

fn expectation(outcome: &Outcome) -> String {
    let expected = outcome.call.expected;
    match expected.code() {
        Some(code) => format!("{} {code}", expected.status()),
        None => format!("{} with {}", expected.status(), expected.carries()),
    }
}

/// What the calls come to, beside what SageMaker and the record say of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balance {
    pub calls: usize,
    pub as_expected: usize,
    /// Calls that should reach SageMaker.
    pub permitted: usize,
    /// Requests that SageMaker got, and those of them whose signature it believed.
    pub arrived: usize,
    pub believed: usize,
    pub recorded: usize,
}

impl Balance {
    pub(super) fn holds(self) -> bool {
        self.as_expected == self.calls
            && self.arrived == self.permitted
            && self.believed == self.arrived
            && self.recorded == self.calls
    }
}

/// The verdict, and on a bad one where to look.
pub(super) fn verdict(balance: Balance, directory: &Path, style: Style) -> String {
    let Balance { calls, as_expected, permitted, arrived, believed, recorded } = balance;
    let line = |right: bool, text: String| {
        let mark = if right { style.good("✓") } else { style.bad("✗") };
        format!("  {mark} {text}\n")
    };
    let mut out = String::from("\n");
    out +=
        &line(as_expected == calls, format!("{as_expected} of {calls} calls answered as expected"));
    out += &line(
        arrived == permitted && believed == arrived,
        format!(
            "{arrived} calls reached SageMaker ({permitted} were permitted), {believed} signed right"
        ),
    );
    out += &line(recorded == calls, format!("{recorded} of {calls} calls are on record"));
    if !balance.holds() {
        let kept = format!("\n  Not as it should be. Files and record: {}\n", directory.display());
        out += &style.bad(&kept);
    }
    out
}

/// Where the demo speaks, and how.
pub(super) struct Screen<'a> {
    pub style: Style,
    pub out: &'a mut (dyn io::Write + Send),
}

impl Screen<'_> {
    /// A reader that is gone is no error of ours.
    pub(super) fn show(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::personas::CALLS;
    use super::*;

    pub(in crate::cli::demo) const PLAIN: Style = Style { colour: false };
    const COLOURED: Style = Style { colour: true };

    fn places() -> Places<'static> {
        Places {
            gateway: "http://127.0.0.1:40001",
            admin: "http://127.0.0.1:40004",
            issuer: "http://127.0.0.1:40002",
            sagemaker: "http://127.0.0.1:40003",
            directory: Path::new("/tmp/sagegate-demo-7"),
            program: Path::new("/usr/local/bin/sagegate"),
        }
    }

    #[test]
    fn a_stranger_reads_what_runs_where_and_what_to_paste() {
        let text = opening(places(), PLAIN) + &to_paste(places(), PLAIN);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_and_none_is_coloured_without_one() {
        let text = opening(places(), PLAIN) + &to_paste(places(), PLAIN);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(!text.contains('\x1b'));
        assert!(opening(places(), COLOURED).contains("\x1b[36mgateway"));
    }

    #[test]
    fn the_table_marks_what_was_not_as_expected() {
        let outcome = |at: usize, answer: &str, as_expected| Outcome {
            call: &CALLS[at],
            answer: answer.to_owned(),
            as_expected,
        };
        let outcomes =
            [outcome(0, "200", true), outcome(3, "200", false), outcome(1, "no answer", false)];
        insta::assert_snapshot!(table(&outcomes, PLAIN));
    }

    #[test]
    fn the_balance_holds_only_if_every_count_does() {
        let good = Balance {
            calls: 15,
            as_expected: 15,
            permitted: 4,
            arrived: 4,
            believed: 4,
            recorded: 15,
        };
        assert!(good.holds());
        for bad in [
            Balance { as_expected: 14, ..good },
            Balance { arrived: 5, believed: 5, ..good },
            Balance { believed: 3, ..good },
            Balance { recorded: 14, ..good },
        ] {
            assert!(!bad.holds(), "{bad:?}");
            assert!(verdict(bad, Path::new("/tmp/x"), PLAIN).contains('✗'));
        }
        assert!(!verdict(good, Path::new("/tmp/x"), PLAIN).contains('✗'));
    }
}
