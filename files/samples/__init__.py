"""Sample data: a night of HERA-like files in the real formats, of any number and size.

For a first look at a site, for tests and for benchmarks. The writers are ours, on h5py, numpy and astropy; nothing here
imports Django, so the package also runs stand-alone. The same seed gives the same bytes.

- `array`: the telescope (site, hexagon of antennas, band) and one observation with it (times, LST, obsid).
- `uvh5`, `fits`, `miriad`, `logs`: one writer per format; each returns a `SampleFile`, the facts a reader should find.
- `small`: very many small products of one size, for benchmarks.
- `night`: which files a night consists of, and writing them below `<directory>/<integer JD>/`.
"""
