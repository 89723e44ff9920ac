//! Whose fault an error is: what the exit code of a program says.

use crate::error::InterpretError;
use crate::steer::problem::SteerProblem;
use crate::vectors::problem::VectorProblem;
use untangle_schema::{Classify, Fault};

impl Classify for InterpretError {
    fn fault(&self) -> Fault {
        use InterpretError as E;
        match self {
            E::Store(error) => error.fault(),
            E::ReadText { source, .. } => Fault::of_file(source),
            E::Model(error) => error.fault(),
            E::Sae(error) => error.fault(),
            E::Endpoint(error) => error.fault(),
            E::Steer(SteerProblem::OtherBatch { .. }) => Fault::Internal,
            E::Vector(
                VectorProblem::NoPairs | VectorProblem::WritesElsewhere { .. } | VectorProblem::NoSuchLayer { .. },
            ) => Fault::Usage,
            E::Vector(_) => Fault::BadInput,
            E::Steer(_)
            | E::NoSuchFeature { .. }
            | E::NoExportName { .. }
            | E::Spec { .. }
            | E::NothingToSweep { .. }
            | E::NeedsDatabase { .. }
            | E::NoSuchLabel { .. }
            | E::AmbiguousLabel { .. }
            | E::NothingToEncode => Fault::Usage,
            E::Table { .. } | E::Database { .. } | E::DatabaseTaken { .. } | E::NothingAnswered { .. } => Fault::Io,
            E::Torch { .. } | E::TokensDiffer { .. } => Fault::Internal,
            E::Interrupted => Fault::Interrupted,
            E::WidthDiffers { .. }
            | E::OtherModel { .. }
            | E::OtherModelThanDictionary { .. }
            | E::Read(_)
            | E::CentredWithoutMean { .. }
            | E::OtherHook { .. }
            | E::NoHookPoint { .. }
            | E::OutputWidthDiffers { .. }
            | E::OutputMissing { .. }
            | E::PartMissing { .. }
            | E::NoOutputPoint { .. }
            | E::Backwards { .. }
            | E::NotRows { .. }
            | E::NoRows { .. }
            | E::NoTokens { .. }
            | E::NothingPredicted { .. }
            | E::TokenOutside { .. }
            | E::NothingToRead
            | E::NoExplanations { .. }
            | E::OtherDictionary { .. }
            | E::OtherWeights { .. }
            | E::NotAFeatureDatabase { .. }
            | E::DamagedDatabase { .. }
            | E::ForeignDatabase { .. }
            | E::DatabaseVersion { .. }
            | E::AnnotatedText { .. }
            | E::NoTokensIn { .. }
            | E::NothingToTry
            | E::NotFinite { .. } => Fault::BadInput,
        }
    }
}
