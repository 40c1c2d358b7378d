//! What reports for programs must look like: JSON by our schemas, test cases by the structure that build servers read.

#![allow(dead_code)] // each test program uses its own part

use roxmltree::{Document, Node};
use serde_json::Value;

/// What the schema of a run says against a result.
pub fn violation(json: &Value) -> Option<String> {
    against(include_str!("../../../docs/loadgen.schema.json"), json)
}

/// What the schema of a search says against one.
pub fn violation_of_search(json: &Value) -> Option<String> {
    against(include_str!("../../../docs/loadgen.find-max.schema.json"), json)
}

fn against(schema: &str, json: &Value) -> Option<String> {
    let schema = serde_json::from_str(schema).expect("the schema is JSON");
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("result.schema.json", schema).expect("the schema has a name");
    let index = compiler.compile("result.schema.json", &mut schemas).expect("the schema is one");
    schemas.validate(json, index).err().map(|error| error.to_string())
}

/// An element: its name, the attributes it must and may have, the elements that may be in it.
struct Element(&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// What Jenkins, GitLab and others read of JUnit's XML (the elements of junit-10.xsd that can occur here).
const ELEMENTS: [Element; 7] = [
    Element("testsuites", &[], &["name", "time", "tests", "failures", "disabled", "errors"], &["testsuite"]),
    Element(
        "testsuite",
        &["name", "tests"],
        &["failures", "errors", "time", "skipped", "timestamp", "hostname", "id", "package"],
        &["properties", "testcase", "system-out", "system-err"],
    ),
    Element("properties", &[], &[], &["property"]),
    Element("property", &["name", "value"], &[], &[]),
    Element(
        "testcase",
        &["name", "classname"],
        &["time"],
        &["skipped", "error", "failure", "system-out", "system-err"],
    ),
    Element("failure", &[], &["type", "message"], &[]),
    Element("system-out", &[], &[], &[]),
];

/// What is wrong with a file of test cases.
pub fn junit_trouble(text: &str) -> Option<String> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return Some(error.to_string()),
    };
    let root = document.root_element();
    if root.tag_name().name() != "testsuites" {
        return Some("the root is no testsuites".into());
    }
    root.descendants().filter(Node::is_element).find_map(|node| element_trouble(node).or_else(|| count_trouble(node)))
}

fn element_trouble(node: Node<'_, '_>) -> Option<String> {
    let name = node.tag_name().name();
    let Some(Element(_, must, may, within)) = ELEMENTS.iter().find(|Element(known, ..)| *known == name) else {
        return Some(format!("<{name}> is not known"));
    };
    if let Some(missing) = must.iter().find(|attribute| node.attribute(**attribute).is_none()) {
        return Some(format!("<{name}> has no {missing}"));
    }
    for attribute in node.attributes() {
        let (key, value) = (attribute.name(), attribute.value());
        if !must.contains(&key) && !may.contains(&key) {
            return Some(format!("<{name}> has {key}"));
        }
        let fits = match key {
            "tests" | "failures" | "errors" | "skipped" | "disabled" => value.parse::<u64>().is_ok(),
            "time" => value.parse::<f64>().is_ok_and(|seconds| seconds >= 0.0),
            // xs:dateTime as the schema narrows it: without a zone.
            "timestamp" => value.len() == 19 && value.as_bytes()[10] == b'T',
            _ => true,
        };
        if !fits {
            return Some(format!("<{name} {key}=\"{value}\">"));
        }
    }
    let stranger = node.children().filter(Node::is_element).find(|child| !within.contains(&child.tag_name().name()));
    stranger.map(|child| format!("<{}> in <{name}>", child.tag_name().name()))
}

/// The counts of a suite are those of its cases.
fn count_trouble(node: Node<'_, '_>) -> Option<String> {
    if !matches!(node.tag_name().name(), "testsuites" | "testsuite") {
        return None;
    }
    let counted = |name: &str| node.descendants().filter(|child| child.has_tag_name(name)).count().to_string();
    let wrong = [("tests", "testcase"), ("failures", "failure"), ("errors", "error")]
        .into_iter()
        .find(|(attribute, element)| node.attribute(*attribute).is_some_and(|said| said != counted(element)));
    wrong.map(|(attribute, element)| format!("{attribute} is not the number of <{element}>"))
}
