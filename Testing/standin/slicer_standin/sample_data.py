"""Module ``SampleData``: registration of data sets, no downloads (probes ``sampledata.*``)."""

from __future__ import annotations

import logging
from typing import Any

import slicer


def _listed(value: Any, count: int) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return values * count if len(values) == 1 else values


class SampleDataSource:
    """One data set: where it is, what it is called, how it is made."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFileProperties: Any = None,
    ) -> None:
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription or sampleName
        self.uris = _listed(uris, 1)
        count = len(self.uris)
        self.fileNames = _listed(fileNames, count)
        self.nodeNames = _listed(nodeNames, count)
        self.checksums = _listed(checksums, count)
        self.loadFiles = _listed(loadFiles, count)
        self.loadFileTypes = _listed(loadFileTypes, count)
        self.loadFileProperties = loadFileProperties or {}
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleDataSource) and (
            (self.sampleName, self.uris) == (other.sampleName, other.uris)
        )

    __hash__ = None


class SampleDataLogic:
    """Registration and loading."""

    def __init__(self, logMessage: Any = None) -> None:
        self.logMessage = logMessage or (lambda message, level=logging.INFO: None)

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str | None = None) -> None:
        slicer.modules.sampleDataSources.setdefault(category, [])

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
    ) -> None:
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            checksums=checksums,
            loadFiles=loadFiles,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes,
            loadFileProperties=loadFileProperties,
        )
        known = slicer.modules.sampleDataSources.setdefault(category, [])
        if source not in known:
            known.append(source)

    @staticmethod
    def isSampleDataSourceRegistered(category: str, sampleDataSource: Any) -> bool:
        if not isinstance(sampleDataSource, SampleDataSource):
            raise TypeError(
                f"unsupported sampleDataSource type '{type(sampleDataSource)}': "
                f"'{SampleDataSource}' is expected"
            )
        return sampleDataSource in slicer.modules.sampleDataSources.get(category, [])

    @staticmethod
    def sourceForSampleName(sampleName: str) -> Any:
        for sources in slicer.modules.sampleDataSources.values():
            for source in sources:
                if source.sampleName == sampleName:
                    return source
        return None

    def downloadFromSource(self, source: SampleDataSource, **kwargs: Any) -> Any:
        """Run the custom downloader, as the button of the module does."""
        if source.customDownloader is None:
            raise NotImplementedError("the stand-in downloads nothing")
        return source.customDownloader(source)

    def downloadSample(self, sampleName: str) -> Any:
        """Load by name: custom downloaders are not asked (cookbook), so nothing is found here."""
        return [][0]

    def downloadFromURL(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("the stand-in downloads nothing")

    downloadFileIntoCache = downloadMRHead = downloadCTChest = downloadFromURL


def downloadSample(sampleName: str) -> Any:
    """Load a registered data set."""
    return SampleDataLogic().downloadSample(sampleName)


downloadSamples = downloadSample


def downloadFromURL(*args: Any, **kwargs: Any) -> Any:
    """Nothing is downloaded."""
    return SampleDataLogic().downloadFromURL(*args, **kwargs)
