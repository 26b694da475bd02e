//! The page that `offprint inspect` prints for a person. Owns words and layout; all facts come from the library.

use std::fmt::Write;

use indicatif::HumanCount;
use offprint::graph::{CheckpointInspection, Cost, Inspection, Layer, Port, TypeShare};

use super::inspect::Found;
use super::inspect_manifest;
use super::say::counted;
use super::table::layout;

/// Characters of a cell.
const WIDEST: usize = 60;
/// Metadata values and labels that are shown.
pub(super) const SHOWN: usize = 12;

/// The whole page.
pub(crate) fn page(found: &Found) -> String {
    let mut page = format!("{}: {}\n", found.path.display(), kind(found));
    if let Some(manifest) = &found.manifest {
        page += &inspect_manifest::describe(manifest, found);
    }
    if let Some(checkpoint) = &found.checkpoint {
        page += &of_checkpoint(checkpoint);
        page += "\nthe graph that an export makes of it";
        page += &match checkpoint.pooling {
            Some(pooling) => format!(" (pooling {pooling})\n"),
            None => " (with mean pooling; the checkpoint does not say how to pool)\n".to_owned(),
        };
        page += &of_graph(&checkpoint.graph);
    }
    if let Some(graph) = &found.graph {
        let size = found.file_bytes.map_or(String::new(), |bytes| format!("{}, ", bytes_of(bytes)));
        let producer = if graph.producer.is_empty() { String::new() } else { format!(", by {}", graph.producer) };
        let sets: Vec<String> = graph.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
        let _ =
            writeln!(page, "\ngraph: {size}ONNX format {}, operators {}{producer}", graph.ir_version, sets.join(", "));
        page += &of_graph(graph);
        page += &metadata(graph, found.manifest.is_some());
    }
    page
}

fn kind(found: &Found) -> String {
    match (found.kind, &found.manifest) {
        ("bundle", Some(manifest)) => format!("bundle, format {}, by {}", manifest.format, manifest.created_by),
        ("bundle", None) => "bundle without a readable bundle.toml".to_owned(),
        ("onnx", _) => "ONNX file".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

fn of_checkpoint(checkpoint: &CheckpointInspection) -> String {
    let mut facts = vec![
        (
            "encoder",
            format!(
                "{}, {}, {}, {}, feed-forward {}",
                checkpoint.architecture,
                counted(checkpoint.layers as u64, "layer"),
                counted(checkpoint.hidden_size as u64, "dimension"),
                counted(checkpoint.heads as u64, "head"),
                checkpoint.intermediate_size
            ),
        ),
        ("vocabulary", format!("{} word pieces", count(checkpoint.vocab_size as u64))),
        ("max length", format!("{} tokens", checkpoint.max_length)),
        ("normalize", checkpoint.normalize.to_string()),
        ("masked words", if checkpoint.masked_lm { "guessed with `--fill`" } else { "no head for them" }.to_owned()),
    ];
    if let Some(classification) = &checkpoint.classification {
        facts.push(("labels", classification.labels.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ")));
    }
    let rows: Vec<Vec<String>> = checkpoint
        .tensors
        .iter()
        .map(|group| vec![group.layer.clone(), group.element.clone(), group.tensors.to_string(), count(group.numbers)])
        .collect();
    format!(
        "{}\nstored tensors\n{}",
        list(&facts),
        indented(&layout(&["layer", "type", "tensors", "numbers"], &together(rows), WIDEST))
    )
}

fn of_graph(graph: &Inspection) -> String {
    let mut text = String::new();
    for (name, ports) in [("inputs", &graph.inputs), ("outputs", &graph.outputs)] {
        let rows: Vec<Vec<String>> = ports.iter().map(port).collect();
        let _ = write!(text, "  {name}\n{}", aligned(&rows));
    }
    let operators: Vec<String> = graph
        .operators
        .iter()
        .map(|operator| {
            let domain = if operator.domain == "ai.onnx" { String::new() } else { format!("{}.", operator.domain) };
            format!("{} {domain}{}", operator.count, operator.operator)
        })
        .collect();
    let _ = writeln!(text, "  {} nodes: {}", graph.nodes, operators.join(", "));
    let _ = writeln!(text, "\nweights: {} parameters, {}", millions(graph.parameters), bytes_of(graph.weight_bytes));
    text += &layers(&graph.layers, &graph.cost);
    for (file, bytes) in &graph.external {
        let _ = writeln!(text, "  {} of them lie in {}", bytes_of(*bytes), one_line(file));
    }
    text += &cost(&graph.cost);
    if !graph.node_list.is_empty() {
        let row = |node: &offprint::graph::NodeLine| {
            vec![node.name.clone(), node.operator.clone(), node.inputs.join(" "), node.outputs.join(" ")]
        };
        let rows: Vec<Vec<String>> = graph.node_list.iter().map(row).collect();
        let _ = write!(text, "\nnodes\n{}", indented(&layout(&["name", "operator", "reads", "gives"], &rows, WIDEST)));
    }
    text
}

fn port(port: &Port) -> Vec<String> {
    let shape = port.shape.as_ref().map_or("of any shape".to_owned(), |shape| format!("[{}]", shape.join(", ")));
    vec![one_line(&port.name), port.element.clone(), one_line(&shape)]
}

/// The layers with their weights and their share of the cost; equal neighbours share a line.
fn layers(layers: &[Layer], cost: &Cost) -> String {
    let types = |types: &[TypeShare]| {
        let shown: Vec<String> = types
            .iter()
            .filter(|share| share.parameters > 0)
            .map(|share| format!("{} {}", share.element, bytes_of(share.bytes)))
            .collect();
        shown.join(", ")
    };
    let row = |layer: &Layer| {
        let mut row = vec![layer.name.clone(), layer.nodes.to_string(), count(layer.parameters), types(&layer.types)];
        row.extend((0..cost.lengths.len()).map(|place| millions(layer.flops.get(place).copied().unwrap_or_default())));
        row
    };
    let mut header: Vec<String> = ["layer", "nodes", "parameters", "types"].map(str::to_owned).to_vec();
    header.extend(cost.lengths.iter().map(|at| match at.length {
        Some(length) => format!("FLOPs @ {length}"),
        None => "FLOPs".to_owned(),
    }));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    indented(&layout(&header, &together(layers.iter().map(row).collect()), WIDEST))
}

/// Rows that differ in their name alone become one: `layer.0 .. layer.10`.
fn together(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut kept: Vec<(Vec<String>, Option<String>)> = Vec::new();
    for row in rows {
        match kept.last_mut() {
            Some((first, last))
                if first[1..] == row[1..] && row[0].starts_with("layer.") && first[0].starts_with("layer.") =>
            {
                *last = Some(row[0].clone());
            }
            _ => kept.push((row, None)),
        }
    }
    let name = |(mut row, last): (Vec<String>, Option<String>)| {
        if let Some(last) = last {
            row[0] = format!("{} .. {last}, each", row[0]);
        }
        row
    };
    kept.into_iter().map(name).collect()
}

fn cost(cost: &Cost) -> String {
    let mut text =
        String::from("\ncost of a text, in FLOPs (products alone; a multiplication and an addition are two)\n");
    let rows: Vec<Vec<String>> = cost
        .lengths
        .iter()
        .map(|at| {
            let per_token = at.length.map_or("-".to_owned(), |length| millions(at.total / length.max(1)));
            let length = at.length.map_or("-".to_owned(), |length| length.to_string());
            vec![length, millions(at.linear), millions(at.attention), millions(at.total), per_token]
        })
        .collect();
    text += &indented(&layout(&["tokens", "with weights", "without", "together", "a token"], &rows, WIDEST));
    if let Some(law) = &cost.law {
        let terms = [
            (law.linear_per_token, " n with weights"),
            (law.linear_per_text, " once with weights"),
            (law.attention_per_pair, " n² attention"),
            (law.attention_per_token, " n attention of few rows, and pooling"),
            (law.attention_per_text, " once for the vector's length"),
        ];
        let terms = terms.iter().filter(|(factor, _)| *factor > 0);
        let terms: Vec<String> = terms.map(|(factor, of)| format!("{}{of}", count(*factor))).collect();
        let _ = writeln!(text, "  n tokens: {}", terms.join(" + "));
    }
    if let Some(cut) = &cost.cut {
        let shares: Vec<String> = cut
            .saved
            .iter()
            .zip(&cost.lengths)
            .map(|(share, at)| format!("{:.1} % at {}", share * 100.0, at.length.unwrap_or_default()))
            .collect();
        let _ =
            writeln!(text, "  {} computes only the rows that are read; that saves {}", cut.layer, shares.join(", "));
    }
    for not in &cost.not_counted {
        let _ = writeln!(text, "  not counted: {} {} ({})", not.count, one_line(&not.operator), not.reason);
    }
    text
}

fn metadata(graph: &Inspection, is_bundle: bool) -> String {
    let others: Vec<Vec<String>> = graph
        .metadata
        .iter()
        .filter(|(key, _)| !(is_bundle && key.starts_with("offprint.")))
        .map(|(key, value)| vec![one_line(key), shortened(value)])
        .collect();
    if others.is_empty() {
        return String::new();
    }
    format!("\nmetadata\n{}{}", aligned(&others[..others.len().min(SHOWN)]), more(others.len()))
}

pub(super) fn more(count: usize) -> String {
    if count > SHOWN { format!("  .. and {} more (`--json` has all)\n", count - SHOWN) } else { String::new() }
}

/// Names and values, aligned.
pub(super) fn list(facts: &[(&str, String)]) -> String {
    aligned(&facts.iter().map(|(name, value)| vec![(*name).to_owned(), one_line(value)]).collect::<Vec<_>>())
}

/// Columns without a header, indented.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "    {}", cells.join("  ").trim_end());
    }
    text
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}\n")).collect()
}

pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shortened(text: &str) -> String {
    let line = one_line(text);
    if line.chars().count() <= WIDEST { line } else { line.chars().take(WIDEST).chain(['…']).collect() }
}

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `22.6 M`, `1.4 G`; small numbers as they are.
fn millions(number: u64) -> String {
    match number {
        0..=999_999 => count(number),
        1_000_000..=999_999_999 => format!("{:.1} M", number as f64 / 1e6),
        1_000_000_000..=999_999_999_999 => format!("{:.2} G", number as f64 / 1e9),
        _ => format!("{:.1} T", number as f64 / 1e12),
    }
}

/// `90.3 MB`, powers of 1,000.
pub(super) fn bytes_of(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}
