from RISCluster.__main__ import main
from RISCluster.report import make_report as report


def test_settings_of_words_and_of_a_file(run_folder, here, capsys, monkeypatch):
    def section(results):
        return {"notes": [f"stations {results.settings.report.stations}"]}

    monkeypatch.setattr(report, "SECTIONS", (("only", "Only", section),))
    monkeypatch.setattr(report, "TECHNICAL", ())
    (here / "config.ini").write_text("[report]\nstations = mine.csv\n[data]\nfile = no.h5\n")
    (here / "my.ini").write_text("[report]\nstations = other.csv\n")
    for name in ("mine", "other", "here"):
        (here / f"{name}.csv").write_text("net,sta,lat,lon\nXH,DR00,-80,179\n")
    for words, stations in (
        ([], "mine.csv"),
        (["--config", "my.ini"], "other.csv"),
        (["report.stations=here.csv"], "here.csv"),
    ):
        assert main(["report", "--run", str(run_folder), *words]) == 0
        path = run_folder / "report.html"
        assert capsys.readouterr().out.splitlines()[-1] == str(path)
        assert f"stations {stations}" in path.read_text(encoding="utf-8")
