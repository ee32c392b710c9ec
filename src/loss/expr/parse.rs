//! Text to [`Expr`], by precedence climbing.
//!
//! The grammar: numbers, names, `f(a, b)`, parentheses, unary minus, and `+ - * / ^`.

use winnow::ascii::multispace0;
use winnow::combinator::{
    Infix, Prefix, alt, cut_err, delimited, dispatch, expression, fail, opt, preceded, separated,
};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{any, one_of, take_while};

use super::{BinaryOp, Expr, ExprKind, FormulaError, Function, MAX_DEPTH, MAX_LENGTH};

const UNKNOWN_FUNCTION: &str = "unknown function";

type Input<'i> = LocatingSlice<&'i str>;
type Outcome<T> = winnow::Result<T, ErrMode<ContextError>>;

/// Reads a formula.
///
/// # Errors
/// A syntax error, an unknown function, a wrong number of arguments, or a formula beyond [`MAX_LENGTH`] or
/// [`MAX_DEPTH`]; each with its place.
pub fn parse(formula: &str) -> Result<Expr, FormulaError> {
    check_limits(formula)?;
    let tree =
        expr.parse(LocatingSlice::new(formula)).map_err(|e| syntax_error(formula, e.offset(), e.inner()))?;
    check_calls(&tree)?;
    check_numbers(formula, &tree)?;
    if tree.depth() > MAX_DEPTH {
        return Err(too_deep(0..formula.len()));
    }
    Ok(tree)
}

fn too_deep(span: std::ops::Range<usize>) -> FormulaError {
    FormulaError::new(
        span,
        format!("the formula nests deeper than {MAX_DEPTH} levels; name a part of it under `row:`"),
    )
}

/// Bounds the parser's own recursion before it starts: brackets, prefix minus and right-associative powers.
fn check_limits(formula: &str) -> Result<(), FormulaError> {
    if formula.len() > MAX_LENGTH {
        return Err(FormulaError::new(
            MAX_LENGTH..formula.len(),
            format!("the formula is longer than {MAX_LENGTH} bytes; name parts of it under `row:`"),
        ));
    }
    // Prefixes and powers that are open: in the innermost bracket, in those around it, and all, brackets included.
    let (mut open, mut outer, mut nested) = (0usize, Vec::new(), 0usize);
    for (at, byte) in formula.bytes().enumerate() {
        match byte {
            b'(' => {
                outer.push(std::mem::take(&mut open));
                nested += 1;
            }
            b')' => {
                if let Some(before) = outer.pop() {
                    nested -= 1 + std::mem::replace(&mut open, before);
                }
            }
            b'-' | b'^' => {
                open += 1;
                nested += 1;
            }
            b'+' | b'*' | b'/' | b',' => nested -= std::mem::take(&mut open),
            _ => {}
        }
        if nested > MAX_DEPTH {
            return Err(too_deep(at..at + 1));
        }
    }
    Ok(())
}

fn syntax_error(formula: &str, offset: usize, error: &ContextError) -> FormulaError {
    let rest = &formula[offset.min(formula.len())..];
    let mut expected = None;
    for context in error.context() {
        match context {
            StrContext::Label(UNKNOWN_FUNCTION) => return no_such_function(rest, offset),
            // The innermost comes first.
            StrContext::Expected(what) if expected.is_none() => expected = Some(what.to_string()),
            _ => {}
        }
    }
    let seen = match rest.chars().next() {
        Some(c) => format!("`{c}`"),
        None => "the end".to_owned(),
    };
    let end = offset + rest.chars().next().map_or(1, char::len_utf8);
    let wanted = expected.unwrap_or_else(|| "an operator (+ - * / ^) or the end".to_owned());
    let is_power = rest.starts_with('*') && formula[..offset.min(formula.len())].ends_with('*');
    let hint = if is_power { "; a power is written a ^ b" } else { "" };
    FormulaError::new(offset..end, format!("expected {wanted}, found {seen}{hint}"))
}

fn no_such_function(rest: &str, offset: usize) -> FormulaError {
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let name = &rest[..length];
    let known: Vec<&str> = Function::ALL.iter().map(|(n, _)| *n).collect();
    FormulaError::new(
        offset..offset + length,
        format!("unknown function `{name}`{}", super::suggest(name, &known)),
    )
}

fn check_calls(tree: &Expr) -> Result<(), FormulaError> {
    let mut found = Ok(());
    tree.visit(&mut |e| {
        if let ExprKind::Call(function, args) = &e.kind
            && args.len() != function.arity()
            && found.is_ok()
        {
            found = Err(FormulaError::new(
                e.span.clone(),
                format!(
                    "`{}` takes {} argument{}, not {}",
                    function.name(),
                    function.arity(),
                    if function.arity() == 1 { "" } else { "s" },
                    args.len()
                ),
            ));
        }
    });
    found
}

fn check_numbers(formula: &str, tree: &Expr) -> Result<(), FormulaError> {
    let mut found = Ok(());
    tree.visit(&mut |e| {
        if matches!(e.kind, ExprKind::Number(value) if !value.is_finite()) && found.is_ok() {
            let number = formula.get(e.span.clone()).unwrap_or_default();
            let message = format!("{number} is beyond the largest float64, about 1.8e308");
            found = Err(FormulaError::new(e.span.clone(), message));
        }
    });
    found
}

fn expr(i: &mut Input) -> Outcome<Expr> {
    expression(spaced(operand))
        .prefix(dispatch! {spaced(any);
            '-' => Prefix(15, |_: &mut Input, a: Expr| Ok(negated(a))),
            _ => fail,
        })
        .infix(dispatch! {spaced(any);
            '+' => Infix::Left(5, |_: &mut Input, a, b| Ok(binary(BinaryOp::Add, a, b))),
            '-' => Infix::Left(5, |_: &mut Input, a, b| Ok(binary(BinaryOp::Sub, a, b))),
            '*' => Infix::Left(7, |_: &mut Input, a, b| Ok(binary(BinaryOp::Mul, a, b))),
            '/' => Infix::Left(7, |_: &mut Input, a, b| Ok(binary(BinaryOp::Div, a, b))),
            '^' => Infix::Right(20, |_: &mut Input, a, b| Ok(binary(BinaryOp::Pow, a, b))),
            _ => fail,
        })
        .parse_next(i)
}

fn spaced<'i, T>(
    parser: impl Parser<Input<'i>, T, ErrMode<ContextError>>,
) -> impl Parser<Input<'i>, T, ErrMode<ContextError>> {
    delimited(multispace0, parser, multispace0)
}

fn negated(a: Expr) -> Expr {
    let span = a.span.start.saturating_sub(1)..a.span.end;
    Expr { kind: ExprKind::Neg(Box::new(a)), span }
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    let span = a.span.start..b.span.end;
    Expr { kind: ExprKind::Binary(op, Box::new(a), Box::new(b)), span }
}

fn operand(i: &mut Input) -> Outcome<Expr> {
    if i.starts_with('-') {
        // A prefix, which is tried next.
        return fail.parse_next(i);
    }
    // Whatever stands before an operand wants one, so nothing else is tried where there is none.
    cut_err(alt((number, call_or_name, bracketed)))
        .context(StrContext::Expected(StrContextValue::Description("a number, a name or `(`")))
        .parse_next(i)
}

fn bracketed(i: &mut Input) -> Outcome<Expr> {
    delimited('(', cut_err(expr), closing).parse_next(i)
}

fn closing(i: &mut Input) -> Outcome<char> {
    cut_err(')').context(StrContext::Expected(StrContextValue::CharLiteral(')'))).parse_next(i)
}

fn number(i: &mut Input) -> Outcome<Expr> {
    let digits = || take_while(1.., '0'..='9');
    let exponent = (one_of(['e', 'E']), opt(one_of(['+', '-'])), digits());
    (alt(((digits(), opt(('.', opt(digits())))).take(), ('.', digits()).take())), opt(exponent))
        .take()
        .try_map(str::parse::<f64>)
        .with_span()
        .map(|(value, span)| Expr { kind: ExprKind::Number(value), span })
        .parse_next(i)
}

fn call_or_name(i: &mut Input) -> Outcome<Expr> {
    let start = i.current_token_start();
    let checkpoint = i.checkpoint();
    let name: &str = identifier.parse_next(i)?;
    let opening: Option<char> = opt(preceded(multispace0, '(')).parse_next(i)?;
    let kind = match opening {
        None => ExprKind::Name(name.to_owned()),
        Some(_) => {
            let Some(function) = Function::named(name) else {
                i.reset(&checkpoint);
                return Err(ErrMode::Cut(unknown_function()));
            };
            let args = cut_err(separated(0.., expr, ',')).parse_next(i)?;
            closing(i)?;
            ExprKind::Call(function, args)
        }
    };
    let span = start..start + name.len().max(i.previous_token_end().saturating_sub(start));
    Ok(Expr { kind, span })
}

fn identifier<'i>(i: &mut Input<'i>) -> Outcome<&'i str> {
    (
        one_of(|c: char| c.is_ascii_alphabetic() || c == '_'),
        take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_'),
    )
        .take()
        .parse_next(i)
}

fn unknown_function() -> ContextError {
    let mut error = ContextError::new();
    error.push(StrContext::Label(UNKNOWN_FUNCTION));
    error
}
