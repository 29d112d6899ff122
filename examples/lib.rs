//! Compiles the code in the documents as doctests, so that what they show is what works. The examples
//! themselves are the files beside this one.

macro_rules! documents {
    ($($name:ident: $file:literal),+ $(,)?) => {$(
        #[cfg(doctest)]
        #[doc = include_str!($file)]
        mod $name {}
    )+};
}

documents! {
    readme: "../README.md",
    isomax_burn: "../isomax-burn/README.md",
    isomax_backend: "../isomax-backend/README.md",
    isomax_kernels: "../isomax-kernels/README.md",
    isomax_models: "../isomax-models/README.md",
    isomax_bundle: "../isomax-bundle/README.md",
    isomax_charts: "../isomax-charts/README.md",
    isomax_bench: "../isomax-bench/README.md",
    isomax_serve: "../isomax-serve/README.md",
    introduction: "../docs/guide/introduction.md",
    first_detector: "../docs/guide/first-detector.md",
    weights_from_pytorch: "../docs/guide/weights-from-pytorch.md",
    scores_and_metrics: "../docs/guide/scores-and-metrics.md",
    thresholds: "../docs/guide/thresholds.md",
    own_network: "../docs/guide/own-network.md",
    trained_networks: "../docs/guide/trained-networks.md",
    own_images: "../docs/guide/own-images.md",
    pretrained_weights: "../docs/guide/pretrained-weights.md",
    deploying: "../docs/guide/deploying.md",
    service: "../docs/guide/service.md",
    reproducing_the_papers: "../docs/guide/reproducing-the-papers.md",
    files_of_a_run: "../docs/guide/files-of-a-run.md",
    clusters: "../docs/guide/clusters.md",
    faq: "../docs/guide/faq.md",
    glossary: "../docs/guide/glossary.md",
    architecture: "../docs/architecture.md",
    reference: "../docs/reference.md",
    performance: "../docs/performance.md",
}
