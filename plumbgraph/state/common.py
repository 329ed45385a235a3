"""What small contents have in common, so that only what differs is stored.

The bytes are a contract: rows name them by their frame's flag, so they never change. They are
messages, metadata and a checkpoint's skeleton as LangGraph serializes them, without contents.
"""

from __future__ import annotations

import base64

import zstandard

_TEXT = (
    "D77#BV4w!|8UTi^kvBkfI>Rsw2Sso68=tCKMb+3ZwY%+Rj46+5qfAM*MP{sWcT4Um4Yw#Z6{yN)J#cDSrpN7U5`F"
    "-H0E7UXLDq;~>v=z~xBW<Ftrak{*3U^9$nl}oF<?JOIe7!lj`d{26D12zpO|`Ia~<z_@N?wv6KtoI^R_e|u36^Df"
    "RkyJFJojH(o=qy?kt+u#LeDBENaW5TP<>)_S2fRh)htlPW|5DByWw~`$TG6Ge{+GnMQf;qzrgI0ioDi#@P$Xr{wP"
    "lZRq5$&m#C+ThVD})Q5jLDp?^K`;9SyRMxCmIMreMYN$}&mRWB9Ku#PEuo28AjARyS@54yjg{$u{l4*1GvmNC|wO"
    "q{TIqk(?XmxH2H<whJS|BSD5G%<zDFZOqk9%j?^%lR+?;p=+Y?5!;MHMBSGYciGBm(kh5!gtHTvz9U`noyC)FJ=u"
    "2s@+Fq1%3XYo>E;`)zsJ8oRI_>OX85WqToW;<hzS+OJV{tn`X0l}IJh!AGlf+Z%A>*lIMNiV|+W!bTW|HH<I@)55"
    "3~V!|jxxF|7ZIw$~&64Glw4}aR0xt1WV-"
    "#t}l_E!H&LK>B;n>;3`RE?_6*%7J;7Uk33bW#RneEM{~Erc(&TH6q=y3k1%>Y4LWuM2h8)f4Jys=KZb3P7jwd0eg"
    "2`!MlH+o48fq|LQDhq0d{cW1b3ZGQ`e3P7nYlm~=xB|^I$wl2?bemGle%Rv|uFr`Ta007}zeur>1;<G8`Et@eQJz"
    "!YH0X7P5ARq!_l({P&xY1%CA=jnEh|}iybrU{J%sVn))MgJJsQ}9BVp+`6aS_CUsb-"
    "*q>i`A6TlRj=Z>lf`^awrfLxNEYgs@vQVqO3&Ks~|($pdS}Ze6RBJ%!oq$w0t_4c^Tzy3KgnZ3aVPNfw-"
    "I%g=&12pR|BL4X2U#qtM447^M=Bfv#^AS4(>Vi28;2#ePt4F=(^>-"
    ";jhx74PyU{}oM02>e&g<m6hgrS5Z3#EEtSAZe#hAi0XU|KNm!X2(}sBlGxw!zSY+`<ZvOtpA{z^08TAP~#cXwW?X"
    "XEu#Gxk2H9tu9s$&;5<)Az(@9bj%{b03-!l&m8V}TrUu4jCW1AXDWl2Qe%@bqPofx"
)


def dictionary() -> zstandard.ZstdCompressionDict:
    """The dictionary of frames of the third kind; see `plumbgraph.state.frames`."""
    raw = zstandard.ZstdDecompressor().decompress(base64.b85decode(_TEXT))
    return zstandard.ZstdCompressionDict(raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
