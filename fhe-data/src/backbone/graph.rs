//! The part of a model that leads from the pictures to the features.

use std::collections::{BTreeSet, HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto, ValueInfoProto};

use super::BackboneError;

/// Names of a list at most that an error tells.
const MOST_NAMES: usize = 12;
/// Operators that may follow the last dense layer: biases, activations, other shapes.
const AFTER_DENSE: [&str; 18] = [
    "Add",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Div",
    "Dropout",
    "Flatten",
    "Identity",
    "LogSoftmax",
    "Mul",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Squeeze",
    "Sub",
    "Tanh",
    "Unsqueeze",
];

/// Cuts a graph down to what the features need: the value `output`, or the input of the last dense
/// layer. Returns the value's name; the graph has one input and one output after that.
pub(super) fn cut(
    graph: &mut GraphProto,
    output: Option<&str>,
    supported: &dyn Fn(&str, &str) -> bool,
) -> Result<String, BackboneError> {
    let values = Values::of(graph)?;
    let value = match output {
        Some(name) => values.named(graph, name)?,
        None => values.before_dense(graph)?,
    };
    let (nodes, needed) = values.needed(graph, &value);
    let mut unknown = BTreeSet::new();
    nodes.iter().for_each(|&at| operators(&graph.node[at], supported, &mut unknown));
    if !unknown.is_empty() {
        return Err(BackboneError::Operators { names: Vec::from_iter(unknown).join(", ") });
    }
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
    let weights: HashSet<&str> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    // Old models list their weights among the inputs.
    graph
        .input
        .retain(|input| needed.contains(&input.name) && !weights.contains(input.name.as_str()));
    if graph.input.len() != 1 {
        let names = list(graph.input.iter().map(|input| input.name.as_str()));
        return Err(BackboneError::Inputs { count: graph.input.len(), names });
    }
    let mut at = 0;
    graph.node.retain(|_| {
        at += 1;
        nodes.contains(&(at - 1))
    });
    graph.output = vec![ValueInfoProto { name: value.clone(), ..ValueInfoProto::default() }];
    // Shapes between may be those of another input size; they follow from the input's.
    graph.value_info.clear();
    Ok(value)
}

/// What is known of the values of a graph.
struct Values {
    /// The node that makes a value.
    maker: HashMap<String, usize>,
    /// Values that do not depend on inputs.
    constant: HashSet<String>,
}

impl Values {
    /// Follows the nodes in their order, which by the format is one of computation.
    fn of(graph: &GraphProto) -> Result<Self, BackboneError> {
        let mut maker = HashMap::new();
        let mut constant: HashSet<String> =
            graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
        let mut made = constant.clone();
        made.extend(graph.input.iter().map(|input| input.name.clone()));
        for (at, node) in graph.node.iter().enumerate() {
            if let Some(value) = named(&node.input).find(|&value| !made.contains(value)) {
                return Err(BackboneError::Dangling { value: value.to_owned() });
            }
            let fixed = named(&node.input).all(|value| constant.contains(value))
                && node.attribute.iter().all(|attribute| attribute.g.is_none());
            for value in named(&node.output) {
                if fixed {
                    constant.insert(value.to_owned());
                }
                made.insert(value.to_owned());
                maker.insert(value.to_owned(), at);
            }
        }
        match graph.output.iter().find(|output| !made.contains(&output.name)) {
            Some(output) => Err(BackboneError::Dangling { value: output.name.clone() }),
            None => Ok(Self { maker, constant }),
        }
    }

    /// Returns the value of that name.
    fn named(&self, graph: &GraphProto, name: &str) -> Result<String, BackboneError> {
        if self.maker.contains_key(name) {
            Ok(name.to_owned())
        } else {
            let known = outputs(graph);
            Err(BackboneError::NoOutput { name: name.to_owned(), known })
        }
    }

    /// Returns the input of the dense layer that the outputs come from.
    fn before_dense(&self, graph: &GraphProto) -> Result<String, BackboneError> {
        let ends = graph.output.iter().filter_map(|output| self.dense_input(graph, &output.name));
        let ends = Vec::from_iter(ends.collect::<BTreeSet<&str>>());
        match ends.as_slice() {
            [] => Err(BackboneError::NoDenseLayer { known: outputs(graph) }),
            [only] => Ok((*only).to_owned()),
            several => {
                let known = list(several.iter().copied());
                Err(BackboneError::SeveralDenseLayers { known })
            }
        }
    }

    /// Goes from an output back to a dense layer, as long as values depend on one value before.
    fn dense_input<'a>(&self, graph: &'a GraphProto, output: &'a str) -> Option<&'a str> {
        let mut value = output;
        // A value that is made twice could lead back to itself.
        for _ in &graph.node {
            let node = &graph.node[*self.maker.get(value)?];
            let mut open = named(&node.input).filter(|&value| !self.constant.contains(value));
            let before = open.next()?;
            let operator = node.op_type.as_str();
            // The other input of a new shape may depend on the number of pictures.
            if open.next().is_some() && operator != "Reshape" {
                return None;
            }
            let weights_second = node.input.get(1).is_some_and(|w| self.constant.contains(w));
            if matches!(operator, "Gemm" | "MatMul") && weights_second {
                return Some(before);
            }
            if !AFTER_DENSE.contains(&operator) {
                return None;
            }
            value = before;
        }
        None
    }

    /// Returns the nodes that a value depends on, and the names of all values that they use.
    fn needed(&self, graph: &GraphProto, value: &str) -> (HashSet<usize>, HashSet<String>) {
        let (mut nodes, mut names) = (HashSet::new(), HashSet::from([value.to_owned()]));
        let mut open = vec![value.to_owned()];
        while let Some(value) = open.pop() {
            let Some(&at) = self.maker.get(&value) else { continue };
            if nodes.insert(at) {
                let mut used = Vec::new();
                uses(&graph.node[at], &mut used);
                open.extend(used.into_iter().filter(|name| names.insert(name.clone())));
            }
        }
        (nodes, names)
    }
}

/// Returns the names that stand for a value: optional ones are empty.
fn named(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str).filter(|name| !name.is_empty())
}

/// Returns the graphs inside a node, as the branches of a condition.
fn inner(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Adds the names that a node uses, also in the graphs inside it.
fn uses(node: &NodeProto, names: &mut Vec<String>) {
    names.extend(named(&node.input).map(str::to_owned));
    for graph in inner(node) {
        graph.node.iter().for_each(|node| uses(node, names));
        names.extend(graph.output.iter().map(|output| output.name.clone()));
    }
}

/// Adds the operators of a node that are not supported.
fn operators(
    node: &NodeProto,
    supported: &dyn Fn(&str, &str) -> bool,
    unknown: &mut BTreeSet<String>,
) {
    if !supported(&node.domain, &node.op_type) {
        let domain = if node.domain.is_empty() { "" } else { &format!("{}.", node.domain) };
        unknown.insert(format!("{domain}{}", node.op_type));
    }
    let nodes = inner(node).flat_map(|graph| &graph.node);
    nodes.for_each(|node| operators(node, supported, unknown));
}

/// Returns the outputs, then the values before them from the last one.
fn outputs(graph: &GraphProto) -> String {
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let before = graph.node.iter().rev().flat_map(|node| named(&node.output));
    let before = before.filter(|value| !outputs.contains(value));
    list(outputs.iter().copied().chain(before))
}

/// Returns the first names.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.take(MOST_NAMES + 1).collect();
    if names.len() > MOST_NAMES {
        names[MOST_NAMES] = "...";
    }
    names.join(", ")
}
