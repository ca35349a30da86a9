//! Prints the public items of a crate, one a line, from the JSON file that rustdoc has written of it.

use std::{env, error::Error, path::PathBuf};

/// The traits that the compiler implements by itself and that users do not count on.
const BY_ITSELF: [&str; 5] = ["Freeze", "Unpin", "UnsafeUnpin", "UnwindSafe", "RefUnwindSafe"];

fn is_wanted(item: &str) -> bool {
    !item.starts_with("impl") || !BY_ITSELF.iter().any(|name| item.contains(&format!("::{name} for ")))
}

fn main() -> Result<(), Box<dyn Error>> {
    let json = PathBuf::from(env::args_os().nth(1).ok_or("usage: rankpool-api FILE.json")?);
    let api = public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).build()?;
    for item in api.items().map(ToString::to_string).filter(|item| is_wanted(item)) {
        println!("{item}");
    }
    Ok(())
}
