pub use aspire_wire as wire;
