//! Truth: dictionaries that hold planted concepts are told from those that do not, from annotated text to the report.

mod truth {
    pub(crate) mod end_to_end;
    pub(crate) mod faults;
    pub(crate) mod planted;
    pub(crate) mod world;
}
