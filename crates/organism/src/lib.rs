//! The bundled model organism.
