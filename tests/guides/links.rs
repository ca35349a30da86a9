//! Every link of README.md and of the pages in docs/ leads to a file that is there, and to a heading that it has; the pages
//! in docs/ are all in the book, and link to nothing outside of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{ROOT, blocks};

/// A text without its fenced blocks and its code.
fn prose(markdown: &str) -> String {
    let (_, around) = blocks(markdown);
    let lines = around.lines().map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join("code"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Where a text links to.
fn links(markdown: &str) -> Vec<String> {
    let prose = prose(markdown);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_string).collect()
}

/// The anchors of a page's headings, as GitHub and mdbook make them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let (_, around) = blocks(markdown);
    let headings = around.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The pages in a folder and below it.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { pages(&path) } else { vec![path] };
    let mut pages: Vec<PathBuf> = paths.flat_map(below).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages
}

/// What is wrong with the links of a page.
fn broken(page: &Path, inside: Option<&Path>) -> Vec<String> {
    let text = read(page);
    let wrong = |link: &String| {
        let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, a)| (file, Some(a)));
        let target = if file.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(file) };
        let Ok(target) = target.canonicalize() else { return Some("is not there") };
        if inside.is_some_and(|inside| !target.starts_with(inside)) {
            return Some("is not in the book");
        }
        let has = |anchor: &str| anchors(&read(&target)).contains(anchor);
        anchor.is_some_and(|anchor| !has(anchor)).then_some("has no such heading")
    };
    let told = |link: String| wrong(&link).map(|why| format!("{}: {link} {why}", page.display()));
    links(&text).into_iter().filter_map(told).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let root = Path::new(ROOT).canonicalize().unwrap();
    let docs = root.join("docs");
    let outside = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut wrong: Vec<String> = outside.iter().flat_map(|page| broken(&root.join(page), None)).collect();
    wrong.extend(pages(&docs).iter().flat_map(|page| broken(page, Some(&docs))));
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_page_is_in_the_book() {
    let docs = Path::new(ROOT).join("docs");
    let listed: BTreeSet<PathBuf> =
        links(&read(&docs.join("SUMMARY.md"))).into_iter().map(|link| docs.join(link)).collect();
    let mut missing = pages(&docs);
    missing.retain(|page| !listed.contains(page) && !page.ends_with("SUMMARY.md"));
    assert_eq!(missing, Vec::<PathBuf>::new(), "pages that docs/SUMMARY.md does not name");
}

#[test]
fn the_readme_fits() {
    let lines = read(&Path::new(ROOT).join("README.md")).lines().count();
    assert!(lines <= 200, "README.md has {lines} lines: what is longer belongs into docs/");
}
