//! `untangle dashboard`: everything about every feature as a page that opens from disk.

use super::outputs;
use crate::context::Context;
use clap::Args;
use std::path::PathBuf;
use untangle_interpret::{DASHBOARD, dashboard};

/// Write a page of all features, with examples, histograms, neighbours and labels, that opens from disk without a server
#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// Feature database, made by `untangle features`
    #[arg(value_name = "FEATURES.db")]
    database: PathBuf,
    /// Folder to write; its index.html is what to open
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace an existing dashboard
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &DashboardArgs, context: &Context) -> anyhow::Result<()> {
    outputs::check(&args.out, &DASHBOARD, args.force, std::slice::from_ref(&args.database))?;
    let database = context.database(&args.database)?;
    let report = dashboard(&database, &args.out, args.force, &context.progress)?;
    context.output.result(&report, |out| {
        let index = report.index_bytes as f64 / report.features.max(1) as f64;
        let megabytes = (report.index_bytes + report.feature_bytes) as f64 / 1e6;
        writeln!(
            out,
            "{}: {} features in {} files, {megabytes:.1} MB; the list takes {index:.0} bytes a feature",
            args.out.display(),
            report.features,
            report.files
        )?;
        writeln!(out, "open {}", report.page.display())
    })
}
