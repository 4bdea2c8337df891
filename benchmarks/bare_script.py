"""The script one would write without the harness.

Hydra composes and MLflow files a run of the same size; nothing is run. It is the baseline of
bench_startup.py and bench_sweep.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import hydra
import mlflow
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

RECORD_BYTES = 4_600
TRACE_BYTES_PER_TILE = 1_245
METRICS = 28


@dataclass
class Strategy:
    buffers: str = "pooled"
    depth: int = 2
    batch: int = 1
    prefetch: int = 0
    columns: int = 1


@dataclass
class Workload:
    kernel: str = "attention"
    tiles: int = 10
    source: str = "speech"


@dataclass
class Measure:
    warmup: int = 1
    repeats: int = 5


@dataclass
class Config:
    strategy: Strategy = field(default_factory=Strategy)
    workload: Workload = field(default_factory=Workload)
    measure: Measure = field(default_factory=Measure)
    uri: str = "sqlite:///mlflow.db"
    experiment: str = "bare"
    seed: int = 0


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg: Config) -> None:
    config = OmegaConf.to_object(cfg)
    folder = Path(HydraConfig.get().runtime.output_dir)
    record, trace = folder / "record.json", folder / "trace.json"
    record.write_text("x" * RECORD_BYTES)
    trace.write_text("x" * TRACE_BYTES_PER_TILE * config.workload.tiles)
    params = {f"strategy.{key}": value for key, value in asdict(config.strategy).items()}
    params |= {"kernel": config.workload.kernel, "workload.tiles": config.workload.tiles}

    mlflow.set_tracking_uri(config.uri)
    mlflow.set_experiment(config.experiment)
    with mlflow.start_run(run_name="bare"):
        mlflow.log_params(params)
        mlflow.log_metrics({f"metric/{number}": number / 7 for number in range(METRICS)})
        mlflow.set_tags({f"tag_{number}": "x" * 20 for number in range(9)})
        for path in (record, trace, folder / ".hydra" / "config.yaml"):
            mlflow.log_artifact(str(path))


if __name__ == "__main__":
    main()
