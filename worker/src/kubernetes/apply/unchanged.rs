//! What need not be applied again: objects that were applied just so, and whose fields are Slipway's still. Most of a
//! deployment's objects are the same from version to version.

use std::collections::BTreeSet;

use super::super::drift::HASH_BYTES;
use super::super::inventory::{Inventory, Owned};
use super::super::kind::Kind;
use super::super::names;
use super::super::render::Manifest;
use super::super::wanted::Wanted;
use super::super::watch::Watch;

/// The objects that are as they shall be, by what the inventory and the watches say. Of secrets nobody can say it.
pub(super) fn of(
    watch: &Watch,
    wanted: &Wanted,
    manifests: &[Manifest],
    known: Option<&Inventory>,
) -> BTreeSet<Owned> {
    let there = watch.ownerships(&wanted.namespace());
    let (Some(known), Some(there), false) = (known, there, wanted.thorough) else { return BTreeSet::new() };
    let is_owned = |owned: &Owned| {
        let seen = there.get(owned).map(|ownership| &ownership.fields);
        seen.is_some() && seen == known.fields.get(&owned.to_string())
    };
    let applied = manifests.iter().filter(|manifest| was_applied(known, manifest));
    applied.map(Owned::of).filter(is_owned).collect()
}

/// Whether the inventory says that the object was applied just so. Pure.
pub(super) fn was_applied(known: &Inventory, manifest: &Manifest) -> bool {
    known.bodies.get(&Owned::of(manifest).to_string()).is_some_and(|body| *body == hash(manifest))
}

/// What of the inventory concerns these objects. Pure.
pub(super) fn kept(mut known: Inventory, done: &BTreeSet<Owned>) -> Inventory {
    let names: BTreeSet<String> = done.iter().map(ToString::to_string).collect();
    known.fields.retain(|object, _| names.contains(object));
    known.bodies.retain(|object, _| names.contains(object));
    let is_done =
        |name: &String| done.iter().any(|owned| owned.kind == Kind::Deployment && owned.name == *name);
    known.generations.retain(|name, _| is_done(name));
    known
}

/// Tells versions of one object apart. Pure.
pub(super) fn hash(manifest: &Manifest) -> String {
    names::hash(&manifest.body.to_string(), HASH_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(kind: Kind, port: u16) -> Manifest {
        Manifest { kind, name: "web".to_owned(), body: json!({ "spec": { "port": port } }) }
    }

    #[test]
    fn only_what_was_applied_just_so_counts() {
        let service = manifest(Kind::Service, 80);
        let bodies = [("Service web".to_owned(), hash(&service))].into();
        let known = Inventory { bodies, ..Inventory::default() };
        assert!(was_applied(&known, &service));
        assert!(!was_applied(&known, &manifest(Kind::Service, 81)));
        assert!(!was_applied(&known, &manifest(Kind::Ingress, 80)));
        assert!(!was_applied(&Inventory::default(), &service));
    }

    #[test]
    fn what_is_applied_anew_is_forgotten_before() {
        let names = ["Service web", "Deployment web"];
        let known = Inventory {
            fields: names.map(|name| (name.to_owned(), "f".to_owned())).into(),
            bodies: names.map(|name| (name.to_owned(), "b".to_owned())).into(),
            generations: [("web".to_owned(), 3)].into(),
            ..Inventory::default()
        };
        let done = BTreeSet::from([Owned { kind: Kind::Service, name: "web".to_owned() }]);
        let left = kept(known, &done);
        assert_eq!(left.fields.keys().collect::<Vec<_>>(), ["Service web"]);
        assert_eq!(left.bodies.keys().collect::<Vec<_>>(), ["Service web"]);
        assert!(left.generations.is_empty(), "the Deployment is applied anew");
    }
}
