//! Jobs to a sealed DAG: cycles, order, critical path, drawings. petgraph lives only here.
