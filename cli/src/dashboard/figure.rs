//! A number on a page, with the field of the object that it is of: a test reads pages again and compares every one.

use maud::{Markup, Render, html};

use crate::units::percent;

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// Parts per million as a percent.
    Ppm,
}

/// A number of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Where it is in the object, as a JSON pointer. Example: `/status/counts/confirmed`.
    pub field: String,
    /// How it is written.
    pub form: Form,
    /// What people read.
    pub text: String,
}

impl Figure {
    /// A count.
    #[must_use]
    pub fn count(field: &str, count: i64) -> Figure {
        Figure { field: field.to_owned(), form: Form::Plain, text: count.to_string() }
    }

    /// Parts per million, which people read as a percent.
    #[must_use]
    pub fn ppm(field: &str, ppm: i64) -> Figure {
        Figure { field: field.to_owned(), form: Form::Ppm, text: percent(ppm) }
    }

    /// A text with numbers that the controller wrote.
    #[must_use]
    pub fn text(field: &str, text: &str) -> Figure {
        Figure { field: field.to_owned(), form: Form::Plain, text: text.to_owned() }
    }
}

impl Render for Figure {
    fn render(&self) -> Markup {
        let form = (self.form == Form::Ppm).then_some("ppm");
        html! { span data-field=(self.field) data-form=[form] { (self.text) } }
    }
}
