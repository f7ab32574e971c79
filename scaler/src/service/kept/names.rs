//! The names of containers by their keys, in as little room as they take: most deployments have few.

use crate::demand::{Key, make_room};

/// Names by key.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By key.
    sorted: Vec<(Key, Box<str>)>,
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The name of a key.
    pub(super) fn get(&self, key: Key) -> Option<&str> {
        let place = self.place(key).ok()?;
        Some(&self.sorted[place].1)
    }

    /// Keeps a name, unless its key has one.
    pub(super) fn keep(&mut self, key: Key, name: &str) {
        if let Err(place) = self.place(key) {
            make_room(&mut self.sorted);
            self.sorted.insert(place, (key, Box::from(name)));
        }
    }

    /// Forgets a key's name.
    pub(super) fn forget(&mut self, key: Key) {
        if let Ok(place) = self.place(key) {
            self.sorted.remove(place);
        }
    }

    /// Keeps only the names of these keys.
    pub(super) fn retain(&mut self, which: impl Fn(Key) -> bool) {
        self.sorted.retain(|(key, _)| which(*key));
    }

    fn place(&self, key: Key) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&key, |(known, _)| *known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_forgotten() {
        let mut names = Names::default();
        for name in ["b", "a", "c", "a"] {
            names.keep(Key::of(name), name);
        }
        names.keep(Key::of("a"), "another");
        assert_eq!((names.len(), names.get(Key::of("a")), names.get(Key::of("d"))), (3, Some("a"), None));
        names.forget(Key::of("a"));
        names.forget(Key::of("d"));
        names.retain(|key| key == Key::of("c"));
        assert_eq!((names.len(), names.get(Key::of("c")), names.get(Key::of("b"))), (1, Some("c"), None));
    }
}
