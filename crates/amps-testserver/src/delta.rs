//! Messages that are parts of others: merged into a record, and told apart from
//! it.

use amps_core::planted;
use serde_json::{Map, Value};

/// Merges a delta into a record (AMPS User Guide, "Incremental Message
/// Updates"): what the delta has replaces what was there, objects field by
/// field, arrays as a whole. What it has not, or has as null, stays.
pub(crate) fn merge(whole: &mut Value, delta: Value) {
    let Value::Object(fields) = delta else { return *whole = delta };
    if !whole.is_object() {
        *whole = Value::Object(Map::new());
    }
    let Some(whole) = whole.as_object_mut() else { return };
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
        merge(whole.entry(name).or_insert(Value::Null), value);
    }
}

/// What a record has that the one before it had not, or had otherwise: objects
/// field by field, arrays as a whole; `None` when there is nothing. A delta
/// cannot say that a field is gone.
pub(crate) fn changes(before: &Value, now: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(fields)) = (before, now) else {
        return (before != now).then(|| now.clone());
    };
    let changed = fields.iter().filter_map(|(name, value)| {
        let change = before.get(name).map_or_else(|| Some(value.clone()), |before| changes(before, value));
        change.map(|change| (name.clone(), change))
    });
    let changed: Map<_, _> = changed.skip(usize::from(planted::is("delta-lacks-a-field"))).collect();
    (!changed.is_empty()).then_some(Value::Object(changed))
}

/// Copies what stands at a path such as `/site/id`. An array on the way is
/// copied as a whole.
pub(crate) fn copy_path(from: &Value, path: &str, to: &mut Value) {
    let Some((name, rest)) = path.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, ""))) else {
        return;
    };
    let (Some(value), Some(fields)) = (from.get(name), to.as_object_mut()) else { return };
    if rest.is_empty() || !value.is_object() {
        fields.insert(name.to_owned(), value.clone());
        return;
    }
    let below = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    copy_path(value, &format!("/{rest}"), below);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let before = json!({"id": 1, "a": {"x": 1, "y": 2}, "l": [1, 2], "n": 5});
        for (now, change) in [
            (before.clone(), None),
            (json!({"id": 1}), None),
            (json!({"id": 1, "a": {"x": 1, "y": 9}}), Some(json!({"a": {"y": 9}}))),
            (json!({"id": 1, "l": [1, 3]}), Some(json!({"l": [1, 3]}))),
            (json!({"id": 1, "a": [], "n": {}}), Some(json!({"a": [], "n": {}}))),
            (json!({"id": 1, "new": {"z": 0}}), Some(json!({"new": {"z": 0}}))),
            (json!({"id": 1, "n": null}), Some(json!({"n": null}))),
            (json!([1]), Some(json!([1]))),
        ] {
            assert_eq!(changes(&before, &now), change, "{now}");
        }
    }

    #[test]
    fn a_path_is_copied_with_what_is_on_its_way() {
        let from = json!({"site": {"id": 7, "name": "x"}, "l": [{"k": 1}], "v": 1});
        let mut to = json!({"site": {"name": "y"}});
        for path in ["/site/id", "/l/0/k", "/missing", "/v/below", "v"] {
            copy_path(&from, path, &mut to);
        }
        assert_eq!(to, json!({"site": {"id": 7, "name": "y"}, "l": [{"k": 1}], "v": 1}));
    }
}
