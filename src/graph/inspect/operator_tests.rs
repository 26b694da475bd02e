//! Operators that no graph of our own has: what each costs and which shape it gives, in graphs that are built by hand. A
//! product behind each of them shows that its shape is known.

use super::super::onnx::{
    AttributeProto, Dimension, ElementType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use super::{Cost, InspectOptions, inspect_model};

/// Tokens of a text, and the width of its states.
const LENGTH: u64 = 10;
const WIDTH: u64 = 8;
/// Columns of the product behind.
const COLUMNS: u64 = 5;

const RUNTIME: &str = "com.microsoft";

fn node(operator: &str, domain: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        domain: Some(domain.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec!["y".to_owned()],
        attribute,
        ..NodeProto::default()
    }
}

fn weight(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(ElementType::Float as i32),
        ..TensorProto::default()
    }
}

/// The cost of the node on `ids` [batch, sequence] and `x` [batch, sequence, 8] for texts of `length` tokens; behind it, its
/// result of that width is multiplied with a matrix of 5 columns.
fn cost_at(length: u64, node: NodeProto, (name, dims): (&str, &[i64]), width: u64) -> Cost {
    let tokens = || ["batch", "sequence"].map(|name| Dimension::Named(name.to_owned())).to_vec();
    let states = [tokens(), vec![Dimension::Fixed(WIDTH as i64)]].concat();
    let mut behind = self::node("MatMul", "", &["y", "behind"], Vec::new());
    behind.output = vec!["z".to_owned()];
    let graph = GraphProto {
        node: vec![node, behind],
        initializer: vec![weight(name, dims), weight("behind", &[width as i64, COLUMNS as i64])],
        input: vec![
            ValueInfoProto::tensor("ids", ElementType::Int64, tokens()),
            ValueInfoProto::tensor("x", ElementType::Float, states),
        ],
        ..GraphProto::default()
    };
    let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
    inspect_model(&model, &InspectOptions { lengths: vec![length], nodes: false }).cost
}

/// Asserts what the node costs with weights and without, that of the product behind it left out.
fn costs(node: NodeProto, weight: (&str, &[i64]), (linear, attention): (u64, u64), width: u64) {
    let operator = node.op_type.clone();
    let cost = cost_at(LENGTH, node, weight, width);
    assert_eq!(cost.not_counted, [], "{operator:?}");
    let [at] = &cost.lengths[..] else { panic!("{:?}", cost.lengths) };
    let got = (at.linear, at.attention);
    assert_eq!(got, (linear + 2 * LENGTH * width * COLUMNS, attention), "{operator:?}");
}

#[test]
fn attention_that_holds_its_weights_counts_both() {
    let pairs = LENGTH * LENGTH;
    for operator in ["Attention", "QAttention"] {
        let plain = node(operator, RUNTIME, &["x", "w"], Vec::new());
        costs(plain, ("w", &[8, 24]), (2 * LENGTH * WIDTH * 24, 2 * 2 * pairs * WIDTH), WIDTH);
        let narrow = node(operator, RUNTIME, &["x", "w"], vec![AttributeProto::ints("qkv_hidden_sizes", &[8, 8, 4])]);
        costs(narrow, ("w", &[8, 20]), (2 * LENGTH * WIDTH * 20, 2 * pairs * (8 + 4)), 4);
    }
}

#[test]
fn attention_over_given_queries_counts_scores_and_context() {
    let expected = (0, 2 * 2 * LENGTH * LENGTH * WIDTH);
    for (operator, domain) in [("MultiHeadAttention", RUNTIME), ("Attention", "")] {
        costs(node(operator, domain, &["x", "x", "x"], Vec::new()), ("w", &[1]), expected, WIDTH);
    }
}

#[test]
fn packed_matrices_count_by_the_sizes_they_name() {
    let sizes = vec![AttributeProto::int("K", 8), AttributeProto::int("N", 6), AttributeProto::int("bits", 4)];
    let packed = node("MatMulNBits", RUNTIME, &["x", "w"], sizes);
    costs(packed, ("w", &[6, 1, 4]), (2 * LENGTH * WIDTH * 6, 0), 6);
}

#[test]
fn the_embedding_block_gives_states() {
    for operator in ["EmbedLayerNormalization", "QEmbedLayerNormalization"] {
        costs(node(operator, RUNTIME, &["ids", "", "w"], Vec::new()), ("w", &[30, 8]), (0, 0), WIDTH);
    }
}

#[test]
fn each_index_of_an_equation_runs_once() {
    let equation = |text: &str, inputs: &[&str]| {
        let cost = cost_at(
            LENGTH,
            node("Einsum", "", inputs, vec![AttributeProto::text("equation", text)]),
            ("w", &[8, 6]),
            WIDTH,
        );
        let unknown: Vec<(String, usize)> =
            cost.not_counted.iter().map(|not| (not.operator.clone(), not.count)).collect();
        (cost.lengths[0].linear, cost.lengths[0].attention, unknown)
    };
    // The shape that it gives isn't told, so the product behind is listed.
    let behind = || vec![("MatMul".to_owned(), 1)];
    assert_eq!(equation("bsd, df -> bsf", &["x", "w"]), (2 * LENGTH * WIDTH * 6, 0, behind()));
    assert_eq!(equation("bsd,btd->bst", &["x", "x"]), (0, 2 * LENGTH * LENGTH * WIDTH, behind()));
    let both = vec![("Einsum".to_owned(), 1), ("MatMul".to_owned(), 1)];
    assert_eq!(equation("...d,df->...f", &["x", "w"]), (0, 0, both));
}

#[test]
fn convolutions_count_their_windows() {
    // Texts are channels of 8 here: only their number changes with the batch.
    let strided = |length: u64| {
        let attributes = vec![AttributeProto::ints("pads", &[1, 1]), AttributeProto::ints("strides", &[2])];
        let mut convolution = node("Conv", "", &["turned", "w"], attributes);
        convolution.name = Some("convolution".to_owned());
        let turn = node("Transpose", "", &["x"], vec![AttributeProto::ints("perm", &[0, 2, 1])]);
        (convolution, turn, length)
    };
    let cost = |(convolution, mut turn, length): (NodeProto, NodeProto, u64)| {
        turn.output = vec!["turned".to_owned()];
        let tokens = ["batch", "sequence"].map(|name| Dimension::Named(name.to_owned())).to_vec();
        let states = [tokens.clone(), vec![Dimension::Fixed(8)]].concat();
        let graph = GraphProto {
            node: vec![turn, convolution],
            initializer: vec![weight("w", &[6, 8, 3])],
            input: vec![
                ValueInfoProto::tensor("ids", ElementType::Int64, tokens),
                ValueInfoProto::tensor("x", ElementType::Float, states),
            ],
            ..GraphProto::default()
        };
        let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
        inspect_model(&model, &InspectOptions { lengths: vec![length], nodes: false }).cost
    };
    let even = cost(strided(10));
    assert_eq!((even.lengths[0].linear, even.not_counted.len()), (2 * 5 * 6 * 8 * 3, 0));
    assert_eq!(even.law.unwrap().linear_per_token, 6 * 8 * 3);
    // Every second window: an odd length has half a window more than the law says, so there is none.
    let odd = cost(strided(7));
    assert_eq!((odd.lengths[0].linear, odd.law), (2 * 4 * 6 * 8 * 3, None));
}
