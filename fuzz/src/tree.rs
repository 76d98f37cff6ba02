//! Changes of JSON, and of what else is a tree of named values.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::edit::NUMBERS;

/// A change of a tree: at a place below the root.
#[derive(Clone, Debug)]
pub(crate) struct TreeEdit {
    /// Which child, level by level. The way ends early at a value that has none.
    path: Vec<Index>,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Put(Value),
    /// Brings a whole number a little up or down.
    Plus(i64),
    Times(i64),
    Remove,
    Repeat,
    Rename,
}

/// Returns changes of a tree, one most often; none at times.
pub(crate) fn edits() -> impl Strategy<Value = Vec<TreeEdit>> {
    let numbers: Vec<Value> =
        NUMBERS.iter().flat_map(|&x| [json!(x), json!(-(x as f64)), json!(x as f64)]).collect();
    let deep = (0..100).fold(json!(1), |value, _| json!([value]));
    let others = vec![
        Value::Null,
        json!(true),
        json!(0.5),
        json!(-0.0),
        json!(1e-300),
        json!(1e300),
        json!(""),
        json!("é\0\n"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
        json!([0, 0]),
        deep,
    ];
    let change = prop_oneof![
        4 => select(numbers).prop_map(Change::Put),
        2 => select(others).prop_map(Change::Put),
        1 => Just(Change::Put(json!(0))),
        3 => (-2..3i64).prop_map(Change::Plus),
        1 => (-2..4i64).prop_map(Change::Times),
        2 => Just(Change::Remove),
        1 => Just(Change::Repeat),
        1 => Just(Change::Rename),
    ];
    let path = proptest::collection::vec(any::<Index>(), 1..6);
    let edit = (path, change).prop_map(|(path, change)| TreeEdit { path, change });
    prop_oneof![
        1 => Just(Vec::new()),
        4 => proptest::collection::vec(edit.clone(), 1),
        2 => proptest::collection::vec(edit, 2..5),
    ]
}

/// Changes a tree step by step. Text that is itself a tree is one to its changes.
pub(crate) fn apply(edits: &[TreeEdit], tree: &mut Value) {
    for edit in edits {
        edit.at(&edit.path, tree);
    }
}

impl TreeEdit {
    fn at(&self, path: &[Index], tree: &mut Value) {
        if let Value::String(text) = tree
            && let Ok(mut inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text)
        {
            self.at(path, &mut inner);
            *text = inner.to_string();
            return;
        }
        let Some((first, rest)) = path.split_first() else { return self.put(tree) };
        match tree {
            Value::Object(fields) if !fields.is_empty() => {
                let at = first.index(fields.len());
                let Some(name) = fields.keys().nth(at).cloned() else { return };
                let leaf = rest.is_empty() || !holds_more(&fields[&name]);
                match (leaf, &self.change) {
                    (true, Change::Remove) => drop(fields.remove(&name)),
                    (true, Change::Rename) => {
                        let value = fields.remove(&name).unwrap_or_default();
                        fields.insert(format!("{name}2"), value);
                    }
                    (true, Change::Repeat) => {
                        let value = fields[&name].clone();
                        fields.insert(format!("{name}2"), value);
                    }
                    _ => self.at(rest, &mut fields[&name]),
                }
            }
            Value::Array(list) if !list.is_empty() => {
                let at = first.index(list.len());
                let leaf = rest.is_empty() || !holds_more(&list[at]);
                match (leaf, &self.change) {
                    (true, Change::Remove) => drop(list.remove(at)),
                    (true, Change::Repeat) => list.insert(at, list[at].clone()),
                    _ => self.at(rest, &mut list[at]),
                }
            }
            leaf => self.put(leaf),
        }
    }

    fn put(&self, value: &mut Value) {
        let whole = value.as_i64();
        match (&self.change, whole) {
            (Change::Put(other), _) => *value = other.clone(),
            (Change::Plus(x), Some(whole)) => *value = json!(whole.saturating_add(*x)),
            (Change::Times(x), Some(whole)) => *value = json!(whole.saturating_mul(*x)),
            (Change::Plus(x) | Change::Times(x), None) => {
                if let Some(number) = value.as_f64() {
                    *value = json!(number * *x as f64);
                }
            }
            (Change::Remove | Change::Repeat | Change::Rename, _) => *value = Value::Null,
        }
    }
}

fn holds_more(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => text.starts_with(['{', '[']),
        _ => false,
    }
}
