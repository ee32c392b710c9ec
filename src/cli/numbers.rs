//! One number a class, from the command line or from a JSON, YAML or CSV file.

use std::path::Path;

use indexmap::IndexMap;

use super::Failure;

/// Reads `text`: a list of numbers with commas, or else the path of a file. `what` names the option in errors.
pub fn one_a_class(what: &str, text: &str) -> Result<Vec<f64>, Failure> {
    let is_list = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || ",.+-eE ".contains(c));
    if is_list && !Path::new(text).exists() {
        return list(text).map_err(|e| Failure::usage(format!("{what}: {e}")));
    }
    let bytes = std::fs::read(text).map_err(|e| {
        Failure::usage(format!(
            "{what}: cannot read {text}: {e}; give numbers with commas, or a JSON, YAML or CSV file"
        ))
    })?;
    let content =
        String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{what}: {text} is not UTF-8 text")))?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let extension = Path::new(text).extension().and_then(|e| e.to_str()).unwrap_or("").to_lowercase();
    let numbers = match extension.as_str() {
        "json" | "yaml" | "yml" => document(content),
        _ => table(content),
    };
    numbers.map_err(|e| Failure::usage(format!("{what}: {text}: {e}")))
}

fn number(text: &str) -> Result<f64, String> {
    let trimmed = text.trim();
    trimmed.parse().map_err(|_| format!("`{trimmed}` is not a number"))
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    text.split(',').map(number).collect()
}

/// JSON (which is YAML) or YAML: a list, or a mapping from class index.
fn document(text: &str) -> Result<Vec<f64>, String> {
    let list: Result<Vec<f64>, _> = serde_saphyr::from_str(text);
    let map: Result<IndexMap<String, f64>, _> = serde_saphyr::from_str(text);
    match (list, map) {
        (Ok(numbers), _) => Ok(numbers),
        (_, Ok(map)) => by_index(map.into_iter().map(Ok)),
        _ => Err("expected a list of numbers, or a mapping from class index to number".to_owned()),
    }
}

fn by_index(entries: impl Iterator<Item = Result<(String, f64), String>>) -> Result<Vec<f64>, String> {
    let entries: Vec<(String, f64)> = entries.collect::<Result<_, _>>()?;
    let mut numbers = vec![None; entries.len()];
    for (class, n) in entries {
        let index: Option<usize> = class.trim().parse().ok();
        let last = numbers.len() - 1;
        let slot = index.and_then(|k| numbers.get_mut(k));
        let slot =
            slot.ok_or_else(|| format!("class `{}` is not an index from 0 to {last}", class.trim()))?;
        if slot.replace(n).is_some() {
            return Err(format!("class {} is given twice", class.trim()));
        }
    }
    let all: Option<Vec<f64>> = numbers.into_iter().collect();
    all.ok_or_else(|| "a class is missing".to_owned())
}

/// CSV: one number a line, or one line of numbers, or lines of class index and number. A first line without numbers
/// is a heading.
fn table(text: &str) -> Result<Vec<f64>, String> {
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).comment(Some(b'#'));
    let mut reader = reader.from_reader(text.as_bytes());
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|e| e.to_string())?;
        let row: Vec<String> = record.iter().map(|f| f.trim().to_owned()).filter(|f| !f.is_empty()).collect();
        let heading = index == 0 && row.iter().all(|f| number(f).is_err());
        if !heading && !row.is_empty() {
            rows.push(row);
        }
    }
    match rows.as_slice() {
        [] => Err("no numbers in it".to_owned()),
        [one] => one.iter().map(|f| number(f)).collect(),
        many if many.iter().all(|r| r.len() == 1) => many.iter().map(|r| number(&r[0])).collect(),
        many if many.iter().all(|r| r.len() == 2) => {
            by_index(many.iter().map(|r| Ok((r[0].clone(), number(&r[1])?))))
        }
        _ => Err("lines of different lengths; give one number a line, or class index and number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_the_same() {
        let want = vec![500.0, 20.5];
        assert_eq!(list("500,20.5").unwrap(), want);
        assert_eq!(document("[500, 20.5]").unwrap(), want);
        assert_eq!(document("- 500\n- 20.5\n").unwrap(), want);
        assert_eq!(document("{\"1\": 20.5, \"0\": 500}").unwrap(), want);
        assert_eq!(document("1: 20.5\n0: 500\n").unwrap(), want);
        assert_eq!(table("500\n20.5\n").unwrap(), want);
        assert_eq!(table("500, 20.5").unwrap(), want);
        assert_eq!(table("class,count\n1,20.5\n0,500\n").unwrap(), want);
    }

    #[test]
    fn unclear_files_are_refused() {
        assert!(table("1\n2,3\n").is_err());
        assert!(table("class,count\n0,1\n0,2\n").is_err());
        assert!(table("class,count\n0,1\n7,2\n").is_err());
        assert!(document("a: 1").is_err());
        assert!(document("text").is_err());
        assert!(table("").is_err());
    }
}
