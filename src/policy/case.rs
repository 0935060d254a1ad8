//! Upper case where it can never match.
//!
//! Endpoints, variants, components and container host names reach the policies in lower case.
//! A policy file that compares one with `"Blue"` would never match, and if it is a forbid,
//! would let through what it was written to stop; so it is refused at load.

use cedar_policy::Policy;
use cedar_policy::pst::{Clause, Expr, Literal, PatternElem, Var};

/// The texts in `policy` that are compared with a name in lower case and are not in lower
/// case themselves.
pub(super) fn never_matching(policy: &Policy) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(tree) = policy.to_pst() {
        for clause in tree.body().clauses() {
            let (Clause::When(expr) | Clause::Unless(expr)) = clause;
            walk(expr, &mut found);
        }
    }
    found.retain(|text| text.bytes().any(|b| b.is_ascii_uppercase()));
    found
}

fn walk(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::Like { expr, pattern } if is_folded(expr) => found.push(text(pattern)),
        Expr::BinaryOp { left, right, .. } if is_folded(left) => literals(right, found),
        Expr::BinaryOp { left, right, .. } if is_folded(right) => literals(left, found),
        Expr::UnaryOp { expr, .. } | Expr::GetAttr { expr, .. } => walk(expr, found),
        Expr::BinaryOp { left, right, .. } => {
            walk(left, found);
            walk(right, found);
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            [cond, then_expr, else_expr].into_iter().for_each(|part| walk(part, found));
        }
        Expr::Set(parts) => parts.iter().for_each(|part| walk(part, found)),
        Expr::Record(parts) => parts.values().for_each(|part| walk(part, found)),
        // A courtesy, not a boundary: what is not understood is left to the author.
        _ => {}
    }
}

/// An attribute that is always in lower case.
fn is_folded(expr: &Expr) -> bool {
    let Expr::GetAttr { expr, attr } = expr else { return false };
    match &**expr {
        Expr::Var(Var::Context) => {
            ["target_variant", "inference_component", "container_hostname"].contains(&attr.as_str())
        }
        Expr::Var(Var::Resource) => attr == "name",
        _ => false,
    }
}

fn literals(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::Literal(Literal::String(text)) => found.push(text.to_string()),
        Expr::Set(parts) => parts.iter().for_each(|part| literals(part, found)),
        _ => {}
    }
}

fn text(pattern: &[PatternElem]) -> String {
    let character = |element: &PatternElem| match element {
        PatternElem::Char(c) => *c,
        PatternElem::Wildcard => '*',
    };
    pattern.iter().map(character).collect()
}
