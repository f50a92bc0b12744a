//! Whose tracking page it is, and how it looks.

use super::super::{PagesState, fault::Fault, login::Door, sheet::Sheet, visit::Visit, words::Words};
use crate::{
    catalog::{Program, pages::ProgramPage},
    core::{
        code::Code,
        page::{Around, Block, Design, Join},
        program::Status,
    },
};

/// A program and its page.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) program: Program,
    page: ProgramPage,
    /// What is known of it before anybody is.
    values: [(&'static str, String); 1],
}

impl Place {
    /// The place that an address names.
    pub(super) async fn find(state: &PagesState, code: &str) -> Result<Place, Fault> {
        let code: Code = code.parse().map_err(|_| Fault::Program)?;
        let program = state.catalog.get::<Program>(&[&code]).await.map_err(|error| match Fault::from(error) {
            Fault::NotFound => Fault::Program,
            other => other,
        })?;
        let page = state.catalog.program_page(&code).await?;
        let name = if program.name.is_empty() { program.code.to_string() } else { program.name.clone() };
        Ok(Place { program, page, values: [("program", name)] })
    }

    pub(super) fn design(&self) -> &Design {
        &self.page.design
    }

    /// Its address, without a slash at the end.
    pub(super) fn path(&self) -> String {
        format!("/r/{}", self.program.code)
    }

    /// How people call the program.
    pub(super) fn name(&self) -> &str {
        &self.values[0].1
    }

    pub(super) fn words(&self, visit: &Visit) -> Words<'_> {
        Words::of(self.page.design.language.unwrap_or(visit.language), &self.page.design).about(&self.values)
    }

    /// A program that is not active credits nobody.
    pub(super) fn is_running(&self) -> bool {
        self.program.status == Status::Active
    }

    /// Who may become a partner here, now.
    pub(super) fn join(&self) -> Join {
        if self.is_running() { self.design().join } else { Join::Closed }
    }

    /// What everybody has to know first.
    pub(super) fn notice(&self, words: Words<'_>) -> Option<String> {
        (!self.is_running()).then(|| words.with("program_stopped", "program", self.name()))
    }

    /// More, before and after a step.
    pub(super) fn around(words: Words<'_>, around: &Around) -> (Vec<Block>, Vec<Block>) {
        (words.blocks(&around.before), words.blocks(&around.after))
    }

    pub(super) fn door(&self) -> Door<'_> {
        Door {
            program: Some(&self.program.code),
            name: self.name(),
            anybody: self.join() != Join::Closed,
            embedded: !self.design().embed.is_empty(),
        }
    }

    /// The frame of one of its pages.
    pub(super) fn sheet<'a>(&self, words: Words<'a>, title: String) -> Result<Sheet<'a>, Fault> {
        let background = self.design().background.as_deref().map(|name| self.file(name));
        Ok(Sheet::new(words, title)?.with_design(self.design(), background.as_deref()))
    }

    /// The address of a file of the page.
    pub(super) fn file(&self, name: &str) -> String {
        let digest = self.page.files.iter().find(|file| file.name == name).map_or("", |file| &file.digest);
        format!("{}/files/{name}?v={digest}", self.path())
    }

    pub(super) fn logo(&self) -> Option<String> {
        self.design().logo.as_deref().map(|name| self.file(name))
    }

    pub(super) fn logo_text(&self) -> &str {
        if self.design().logo_text.is_empty() { self.name() } else { &self.design().logo_text }
    }

    pub(super) fn icons(&self) -> &'static str {
        self.design().icons.word()
    }

    pub(super) fn footer(&self, words: &Words<'_>) -> String {
        words.say("track_footer")
    }
}
