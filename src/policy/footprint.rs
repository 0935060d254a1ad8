//! What the loaded policies read of a request, found by walking their syntax trees.
//!
//! The footprint decides what the decision cache's key holds and what Cedar is shown; one
//! value serves both (see `asked`), so a cached decision cannot depend on something that its
//! key lacks. It errs to one side: an expression that the walk does not understand counts as
//! reading everything.

use std::collections::HashSet;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Var};
use cedar_policy::{EntityUid, Policy};

use super::words::{Kind, Words};
use crate::names::{Group, User};

/// Something of a request that policies may or may not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    Variant,
    Model,
    InferenceComponent,
    ContainerHostname,
    InputLocation,
    OutputExtension,
    Team,
    SourceIp,
    /// The time of day: what reads it is not cached.
    Now,
    /// Who the user is, beyond being one that a policy names.
    User,
}

impl Input {
    pub const ALL: [Self; 10] = [
        Self::Variant,
        Self::Model,
        Self::InferenceComponent,
        Self::ContainerHostname,
        Self::InputLocation,
        Self::OutputExtension,
        Self::Team,
        Self::SourceIp,
        Self::Now,
        Self::User,
    ];

    /// The context attribute of `sagegate.cedarschema`, or `principal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Variant => "target_variant",
            Self::Model => "target_model",
            Self::InferenceComponent => "inference_component",
            Self::ContainerHostname => "container_hostname",
            Self::InputLocation => "input_location",
            Self::OutputExtension => "output_extension",
            Self::Team => "team",
            Self::SourceIp => "source_ip",
            Self::Now => "now",
            Self::User => "principal",
        }
    }
}

/// What policies read beyond the action, the endpoint and the caller's standing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    inputs: u16,
    groups: HashSet<Group>,
    users: HashSet<User>,
}

impl Footprint {
    pub fn reads(&self, input: Input) -> bool {
        self.inputs & (1 << input as u16) != 0
    }

    pub fn inputs(&self) -> impl Iterator<Item = Input> + '_ {
        Input::ALL.into_iter().filter(|input| self.reads(*input))
    }

    /// The groups that policies name.
    pub fn groups(&self) -> &HashSet<Group> {
        &self.groups
    }

    /// The users that policies name.
    pub fn users(&self) -> &HashSet<User> {
        &self.users
    }

    pub(super) fn of<'a>(policies: impl IntoIterator<Item = &'a Policy>, words: &Words) -> Self {
        let mut footprint = Self::default();
        for policy in policies {
            footprint.names(&policy.entity_literals(), words);
            footprint.policy(policy);
        }
        footprint
    }

    fn names(&mut self, literals: &[EntityUid], words: &Words) {
        for uid in literals {
            let id = uid.id().unescaped();
            match words.kind(uid) {
                Kind::User => _ = self.users.insert(User::new(id)),
                Kind::Group => _ = self.groups.insert(Group::new(id)),
                Kind::Role | Kind::Team | Kind::Endpoint | Kind::Other => {}
            }
        }
    }

    /// The scope needs no walk: it compares with literals only.
    fn policy(&mut self, policy: &Policy) {
        let Ok(tree) = policy.to_pst() else { return self.everything() };
        for clause in tree.body().clauses() {
            let (Clause::When(expr) | Clause::Unless(expr)) = clause;
            self.expr(expr);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            // In every key.
            Expr::Literal(_) | Expr::Var(Var::Action | Var::Resource) => {}
            Expr::Var(Var::Principal) => self.read(Input::User),
            Expr::GetAttr { expr, attr } if is_var(expr, &Var::Context) => self.attribute(attr),
            Expr::HasAttr { expr, attrs } if is_var(expr, &Var::Context) => {
                self.attribute(attrs.first());
            }
            // Comparing with named entities: the standing, which is in every key, holds
            // which of them the caller is or belongs to.
            Expr::BinaryOp { op: BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::In, left, right }
                if is_var(left, &Var::Principal) && is_named(right) => {}
            Expr::Is { expr, in_expr, .. }
                if is_var(expr, &Var::Principal)
                    && in_expr.as_ref().is_none_or(|within| is_named(within)) => {}
            other => self.parts(other),
        }
    }

    fn parts(&mut self, expr: &Expr) {
        match expr {
            Expr::UnaryOp { expr, .. }
            | Expr::GetAttr { expr, .. }
            | Expr::HasAttr { expr, .. }
            | Expr::Like { expr, .. }
            | Expr::Is { expr, in_expr: None, .. } => self.expr(expr),
            Expr::BinaryOp { left: a, right: b, .. }
            | Expr::Is { expr: a, in_expr: Some(b), .. } => {
                self.expr(a);
                self.expr(b);
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                [cond, then_expr, else_expr].into_iter().for_each(|part| self.expr(part));
            }
            Expr::Set(parts) => parts.iter().for_each(|part| self.expr(part)),
            Expr::Record(parts) => parts.values().for_each(|part| self.expr(part)),
            // The whole context, a slot, an unknown, or what a later Cedar adds.
            _ => self.everything(),
        }
    }

    fn attribute(&mut self, name: &str) {
        match Input::ALL.into_iter().find(|input| input.as_str() == name) {
            Some(input) => self.read(input),
            None => self.everything(),
        }
    }

    fn read(&mut self, input: Input) {
        self.inputs |= 1 << input as u16;
    }

    fn everything(&mut self) {
        Input::ALL.into_iter().for_each(|input| self.read(input));
    }
}

fn is_var(expr: &Expr, var: &Var) -> bool {
    matches!(expr, Expr::Var(found) if found == var)
}

/// An entity, or a set of entities, written out.
fn is_named(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(Literal::EntityUID(_)) => true,
        Expr::Set(parts) => parts.iter().all(|part| is_named(part)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(condition: &str) -> Vec<&'static str> {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let policy = Policy::parse(None, text).unwrap();
        let footprint = Footprint::of([&policy], &Words::read().unwrap());
        footprint.inputs().map(Input::as_str).collect()
    }

    #[test]
    fn the_walk_finds_what_is_read_and_nothing_more() {
        let all: Vec<_> = Input::ALL.iter().map(|input| input.as_str()).collect();
        let nothing: &[&str] = &[];
        for (condition, reads) in [
            ("true", nothing),
            ("resource.name like \"a*\" && resource.hasTag(\"t\")", nothing),
            ("action == Action::\"InvokeEndpoint\"", nothing),
            ("principal in Role::\"r\" || principal == User::\"corp/a\"", nothing),
            ("principal in [Group::\"corp/g\", Team::\"t\"]", nothing),
            ("principal is User in Group::\"corp/g\"", nothing),
            ("principal != User::\"corp/a\"", nothing),
            ("context has target_variant && context.target_variant == \"b\"", &["target_variant"]),
            ("context[\"team\"] == \"t\"", &["team"]),
            ("context.source_ip.isInRange(ip(\"10.0.0.0/8\"))", &["source_ip"]),
            (
                "!(if context has team then true else context has input_location)",
                &["input_location", "team"],
            ),
            ("[context.target_model, \"x\"].contains(\"y\")", &["target_model"]),
            ("{a: context.output_extension}.a == \"x\"", &["output_extension"]),
            ("context.now > datetime(\"2026-01-01\")", &["now"]),
            ("principal.name like \"corp/*\"", &["principal"]),
            ("User::\"corp/a\" == principal", &["principal"]),
            ("principal in resource", &["principal"]),
            ("[User::\"corp/a\"].contains(principal)", &["principal"]),
            ("context == {}", &all),
            ("context has made_up", &all),
            ("[context].isEmpty()", &all),
        ] {
            assert_eq!(inputs(condition), reads, "{condition}");
        }
    }

    #[test]
    fn named_groups_and_users_are_found_in_scopes_and_conditions() {
        let text = "permit (principal in Group::\"corp/a\", action, resource)
            unless { principal in [Group::\"corp/b\"] || principal == User::\"corp/u\" };";
        let policy = Policy::parse(None, text).unwrap();
        let footprint = Footprint::of([&policy], &Words::read().unwrap());
        assert_eq!(footprint.groups(), &["corp/a", "corp/b"].map(Group::new).into());
        assert_eq!(footprint.users(), &["corp/u"].map(User::new).into());
    }
}
