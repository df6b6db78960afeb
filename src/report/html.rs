//! A page as one HTML file: style and pictures are in it, there is no script and nothing to load.
//!
//! Does not know: what the page is about.

use std::fmt::Write as _;

use super::page::{Block, Cell, Page, Plot, Table, Tone};
use super::svg::svg;

/// How it looks, by day, by night and on paper.
const STYLE: &str = include_str!("style.css");

/// The whole file.
pub(super) fn render(page: &Page) -> String {
    let title = escaped(&page.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}"
    );
    if let Some((tone_of, text)) = &page.badge {
        let _ = write!(out, " <span class=\"badge {}\">{}</span>", tone(*tone_of), escaped(text));
    }
    let _ = writeln!(
        out,
        "</h1>\n<p class=\"summary\">{}</p>\n<dl class=\"facts\">",
        escaped(&page.summary)
    );
    for (name, cell) in &page.facts {
        let _ = writeln!(
            out,
            "<div><dt>{}</dt><dd class=\"{}\">{}</dd></div>",
            escaped(name),
            tone(cell.tone),
            escaped(&cell.text)
        );
    }
    out += "</dl>\n</header>\n<nav aria-label=\"Contents\"><ul>\n";
    for section in &page.sections {
        let _ =
            writeln!(out, "<li><a href=\"#{}\">{}</a></li>", section.id, escaped(section.title));
    }
    out += "</ul></nav>\n<main>\n";
    for section in &page.sections {
        let _ =
            writeln!(out, "<section id=\"{}\">\n<h2>{}</h2>", section.id, escaped(section.title));
        for it in &section.blocks {
            block(&mut out, it);
        }
        out += "</section>\n";
    }
    let _ = writeln!(out, "</main>\n<footer>{}</footer>\n</body>\n</html>", escaped(&page.foot));
    out
}

fn block(out: &mut String, what: &Block) {
    match what {
        Block::Text(text) => {
            let _ = writeln!(out, "<p>{}</p>", escaped(text));
        }
        Block::Note(of, text) => {
            let _ = writeln!(out, "<p class=\"note {}\">{}</p>", tone(*of), escaped(text));
        }
        Block::Heading(text) => {
            let _ = writeln!(out, "<h3>{}</h3>", escaped(text));
        }
        Block::Facts(facts) => {
            out.push_str("<dl class=\"list\">\n");
            for (name, value) in facts {
                let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
            }
            out.push_str("</dl>\n");
        }
        Block::Table(it) => table(out, it),
        Block::Plot(it) => plot(out, it),
        Block::Plots(plots) => {
            out.push_str("<div class=\"plots\">\n");
            for it in plots {
                plot(out, it);
            }
            out.push_str("</div>\n");
        }
        Block::Fold(title, blocks) => {
            let _ = writeln!(out, "<details><summary>{}</summary>", escaped(title));
            for it in blocks {
                block(out, it);
            }
            out.push_str("</details>\n");
        }
    }
}

fn table(out: &mut String, table: &Table) {
    out.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    let class = |is_number: bool| if is_number { " class=\"number\"" } else { "" };
    for (name, is_number) in &table.columns {
        let _ = write!(out, "<th{}>{}</th>", class(*is_number), escaped(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (Cell { text, tone: of }, (_, is_number)) in row.iter().zip(&table.columns) {
            let number = if *is_number { "number " } else { "" };
            let _ = write!(out, "<td class=\"{number}{}\">{}</td>", tone(*of), escaped(text));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn plot(out: &mut String, plot: &Plot) {
    let class = if plot.is_small { " class=\"small\"" } else { "" };
    let _ = write!(out, "<figure{class}>\n<figcaption><b>{}</b>", escaped(&plot.title));
    for series in &plot.series {
        let dashed = if series.is_dashed { " dashed" } else { "" };
        let name = escaped(&series.name);
        let _ = write!(out, " <span class=\"key {}{dashed}\">{name}</span>", series.arm);
    }
    let _ = writeln!(out, "</figcaption>\n{}", svg(plot));
    if plot.explains && !plot.marks.is_empty() {
        out.push_str("<ol class=\"marks\">");
        for mark in &plot.marks {
            let _ = write!(out, "<li class=\"{}\">{}</li>", tone(mark.tone), escaped(&mark.label));
        }
        out.push_str("</ol>\n");
    }
    out.push_str("</figure>\n");
}

/// The class of a tone.
pub(super) fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
        Tone::Dim => "dim",
        Tone::Of(arm) => arm.as_str(),
    }
}

/// A text that is no HTML, between tags or in quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
