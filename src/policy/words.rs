//! The vocabulary shared with `config/sagegate.cedarschema`, as typed Cedar values.
//!
//! Invariant: an entity is only ever built from a type of the schema and an id, never from
//! text or JSON, so that no claim or header can pose as another entity.

use std::error::Error;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};

use crate::names::Action;

/// The schema that every policy is checked against.
pub(super) const SCHEMA: &str = include_str!("../../config/sagegate.cedarschema");

/// The schema's entity types and actions.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) schema: Schema,
    user: EntityTypeName,
    role: EntityTypeName,
    group: EntityTypeName,
    team: EntityTypeName,
    endpoint: EntityTypeName,
    /// In the order of [`Action::ALL`].
    actions: Vec<EntityUid>,
}

impl Words {
    /// # Errors
    /// When the embedded schema is not one, which a test rules out.
    pub(super) fn read() -> Result<Self, Box<dyn Error>> {
        let (schema, _warnings) = Schema::from_cedarschema_str(SCHEMA)?;
        let action: EntityTypeName = "Action".parse()?;
        Ok(Self {
            schema,
            user: "User".parse()?,
            role: "Role".parse()?,
            group: "Group".parse()?,
            team: "Team".parse()?,
            endpoint: "Endpoint".parse()?,
            actions: Action::ALL.iter().map(|name| uid(&action, name.as_str())).collect(),
        })
    }

    pub(super) fn user(&self, id: &str) -> EntityUid {
        uid(&self.user, id)
    }

    pub(super) fn role(&self, id: &str) -> EntityUid {
        uid(&self.role, id)
    }

    pub(super) fn group(&self, id: &str) -> EntityUid {
        uid(&self.group, id)
    }

    pub(super) fn team(&self, id: &str) -> EntityUid {
        uid(&self.team, id)
    }

    pub(super) fn endpoint(&self, folded: &str) -> EntityUid {
        uid(&self.endpoint, folded)
    }

    /// `None` for an action that the table lacks; it holds all of them.
    pub(super) fn action(&self, action: Action) -> Option<&EntityUid> {
        self.actions.get(action as usize)
    }

    /// What kind of thing an entity that a policy mentions is.
    pub(super) fn kind(&self, uid: &EntityUid) -> Kind {
        let name = uid.type_name();
        let kinds = [
            (&self.user, Kind::User),
            (&self.role, Kind::Role),
            (&self.group, Kind::Group),
            (&self.team, Kind::Team),
            (&self.endpoint, Kind::Endpoint),
        ];
        kinds.into_iter().find(|(kind, _)| *kind == name).map_or(Kind::Other, |(_, kind)| kind)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Role,
    Group,
    Team,
    Endpoint,
    Other,
}

fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_and_the_code_know_the_same_actions() {
        let words = Words::read().unwrap();
        let mut ours: Vec<_> = words.actions.iter().map(ToString::to_string).collect();
        let mut theirs: Vec<_> = words.schema.actions().map(ToString::to_string).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
        for action in Action::ALL {
            let uid = words.action(action).unwrap();
            assert_eq!(uid.id().unescaped(), action.as_str());
        }
    }
}
