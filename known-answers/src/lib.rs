//! Known answers of tests: numbers under names, as a file has them.

use std::collections::BTreeMap;

/// Numbers under their names.
pub type Answers = BTreeMap<String, f64>;

/// How far numbers may be apart, as a share: processors round a little differently.
const APART: f64 = 1e-11;

/// Compares the numbers of some things with those of a file, JSON of the same form.
///
/// # Errors
/// What differs first, with what the file would be.
pub fn compare(got: &BTreeMap<&str, Answers>, file: &str) -> Result<(), String> {
    let known: BTreeMap<String, Answers> =
        serde_json::from_str(file).map_err(|e| format!("the file: {e}"))?;
    let text = serde_json::to_string_pretty(got).map_err(|e| e.to_string())?;
    let differs = |what: String| Err(format!("{what}; the file would be {text}"));
    if !got.keys().copied().eq(known.keys().map(String::as_str)) {
        return differs("other things".into());
    }
    for (of, (got, known)) in got.iter().map(|(of, got)| (of, (got, &known[*of]))) {
        if !got.keys().eq(known.keys()) {
            return differs(format!("{of}: other names"));
        }
        for ((name, got), known) in got.iter().zip(known.values()) {
            let near = (got - known).abs() <= APART * known.abs();
            if !near {
                return differs(format!("{of}, {name}: {got:e}, known is {known:e}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let got = |name: &str, x: f64| {
            BTreeMap::from([("a set", Answers::from([(name.to_owned(), x), ("z".into(), 0.0)]))])
        };
        let file = r#"{ "a set": { "x": 0.5, "z": 0.0 } }"#;
        assert_eq!(compare(&got("x", 0.5 + 1e-13), file), Ok(()));
        for (got, file, said) in [
            (got("x", 0.5 + 1e-10), file, "a set, x: 5.000000001e-1, known is 5e-1; the file"),
            (got("x", f64::NAN), file, "a set, x: NaN"),
            (got("y", 0.5), file, "a set: other names"),
            (BTreeMap::new(), file, "other things"),
            (got("x", 0.5), "{", "the file: EOF"),
        ] {
            let error = compare(&got, file).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
